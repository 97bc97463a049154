#include "checkpoints/hdf5/library.h"

#include "compute/error.h"

namespace ballast {
namespace {

std::mutex& library_mutex() {
  static std::mutex mutex;
  return mutex;
}

// Before anything else: no exit handler (it crashes after a failed close), no error stacks on the terminal, no plugins
// loaded from the environment, no link followed into another file.
void set_up() {
  H5dont_atexit();
  check_h5(H5open(), "HDF5 does not start");
  check_h5(H5PLset_loading_state(0), "HDF5 does not switch its plugins off");
  check_h5(H5Lunregister(H5L_TYPE_EXTERNAL), "HDF5 does not switch external links off");
}

herr_t keep_innermost(unsigned, const H5E_error2_t* error, void* text) {
  if (error->desc != nullptr) *static_cast<std::string*>(text) = error->desc;
  return 0;
}

}  // namespace

Hdf5Session::Hdf5Session() : lock_(library_mutex()) {
  static const bool ready = (set_up(), true);
  static_cast<void>(ready);
  // No error stacks on the terminal. Where HDF5 was built for threads, each thread has a setting of its own.
  check_h5(H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr), "HDF5 does not start");
}

void throw_h5(const char* what, std::source_location where) {
  std::string innermost;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_innermost, &innermost);
  throw Error(std::string(what) + " (HDF5: " + innermost + ")", ExitCode::kInternal, where);
}

}  // namespace ballast
