// Defines: Hdf5Session, check_h5, H5Handle: the only way to call HDF5 here.
//
// Debian's HDF5 is not thread safe, not even for two different files, and it opens other files by itself unless it is
// told not to.
#pragma once

#include <hdf5.h>

#include <mutex>
#include <source_location>
#include <string>
#include <utility>

namespace ballast {

/// While one exists, this thread alone may call HDF5. The first one of the process sets the library up.
class Hdf5Session {
 public:
  Hdf5Session();

 private:
  std::scoped_lock<std::mutex> lock_;
};

/// Throws Error(kInternal) with HDF5's own innermost words when a result of the C library is negative.
template <class Result>
Result check_h5(Result result, const char* what, std::source_location where = std::source_location::current());
[[noreturn]] void throw_h5(const char* what, std::source_location where);

template <class Result>
Result check_h5(Result result, const char* what, std::source_location where) {
  if (result < 0) throw_h5(what, where);
  return result;
}

/// Owns one HDF5 identifier. Move-only.
template <herr_t (*Close)(hid_t)>
class H5Handle {
 public:
  H5Handle(hid_t id, const char* what, std::source_location where = std::source_location::current())
      : id_(check_h5(id, what, where)) {}
  H5Handle(H5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)) {}
  H5Handle& operator=(H5Handle&&) = delete;
  ~H5Handle() {
    if (id_ >= 0) Close(id_);
  }
  [[nodiscard]] hid_t get() const { return id_; }
  /// Closes now, where an error can still be told.
  void close(const char* what) { check_h5(Close(std::exchange(id_, -1)), what); }

 private:
  hid_t id_;
};

using H5File = H5Handle<H5Fclose>;
using H5Group = H5Handle<H5Gclose>;
using H5Dataset = H5Handle<H5Dclose>;
using H5Space = H5Handle<H5Sclose>;
using H5Type = H5Handle<H5Tclose>;
using H5Properties = H5Handle<H5Pclose>;

}  // namespace ballast
