// Defines: ExitCode, Error, ConfigError, DataError, require.
//
// Every failure in Ballast is an exception of one type. It ends the job, so nobody branches on it: the code says how
// the process exits, the text is the one line that the user reads.
#pragma once

#include <source_location>
#include <stdexcept>
#include <string>

namespace ballast {

/// Process exit codes, after sysexits.h. They are part of the program's interface: scripts and batch systems read them.
enum class ExitCode : int {
  kOk = 0,
  kUsage = 64,     ///< unknown command or flag
  kData = 65,      ///< corrupt or unusable data or checkpoint
  kVersion = 69,   ///< file written by a newer Ballast
  kInternal = 70,  ///< a defect in Ballast, or a library that failed
  kBusy = 73,      ///< another job writes into the same folder
  kIo = 74,        ///< the disk or the file system failed
  kStopped = 75,   ///< stopped after a checkpoint: run the same command again to go on
  kDesync = 76,    ///< workers disagree
  kConfig = 78,    ///< the job file or an override is wrong
  kHang = 79,      ///< a worker made no progress
};

/// The one exception type. `what()` is complete and ready to print: it names the object (file, tensor, key, rank) and
/// what to do.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, ExitCode code = ExitCode::kInternal,
                 std::source_location where = std::source_location::current())
      : std::runtime_error(message), code_(code), where_(where) {}

  [[nodiscard]] ExitCode code() const { return code_; }
  /// Where it was thrown. Printed only for kInternal: the user can do nothing with it otherwise.
  [[nodiscard]] const std::source_location& where() const { return where_; }

 private:
  ExitCode code_;
  std::source_location where_;
};

/// The job file, an override or a flag is wrong; the user can mend it. May hold several lines, one per mistake.
class ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& message, std::source_location where = std::source_location::current())
      : Error(message, ExitCode::kConfig, where) {}
};

/// A data file or a checkpoint is missing, damaged or of another model. Names the file and the offset or tensor.
class DataError : public Error {
 public:
  explicit DataError(const std::string& message, std::source_location where = std::source_location::current())
      : Error(message, ExitCode::kData, where) {}
};

/// Throws Error(kInternal) when an invariant of ours does not hold. Not for user input.
inline void require(bool holds, const char* message, std::source_location where = std::source_location::current()) {
  if (!holds) throw Error(message, ExitCode::kInternal, where);
}

}  // namespace ballast
