// Implements open_text of runtime/data/formats.h.
#include "runtime/data/token_windows.h"

namespace ballast {

Datasets open_text(const DataSection& config, const InputSpec& input) {
  if (input.classes < 256) {
    throw ConfigError("model.vocabulary = " + std::to_string(input.classes) +
                      " is too small for data.format = \"text\", which feeds bytes: set it to 256");
  }
  return open_windows(config, input, [](const FileSet& set, std::size_t file) {
    return TokenLayout{0, set.files()[file].bytes, 1};
  });
}

}  // namespace ballast
