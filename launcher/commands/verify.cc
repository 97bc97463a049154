#include <cstdio>

#include "launcher/commands/commands.h"
#include "launcher/failure.h"
#include "launcher/find_checkpoint.h"
#include "launcher/number_text.h"
#include "launcher/reports.h"
#include "launcher/table.h"

namespace ballast {
namespace {

void verify(FileSystem& files, const std::string& path, VerifyReport& report) {
  report.checkpoint = find_checkpoint(files, path);
  const Checkpoint checkpoint = Checkpoint::open(files, report.checkpoint);
  report.step = checkpoint.step();
  checkpoint.verify();
  report.digest = checkpoint.weights_digest();
  report.tensors = static_cast<std::int64_t>(checkpoint.tensors().size());
  report.bytes = checkpoint.bytes();
  for (const std::string& name : files.list(report.checkpoint)) {
    report.files.emplace_back(name, files.open_read(report.checkpoint + '/' + name)->size());
  }
  report.ok = true;
}

void print(const VerifyReport& report) {
  Table table("lr");
  for (const auto& [name, bytes] : report.files) table.add({"  " + name, bytes_text(static_cast<double>(bytes))});
  std::printf("%s: sound\n  step %lld, %lld tensors, %s\n%s  weights digest %s\n", report.checkpoint.c_str(),
              static_cast<long long>(*report.step), static_cast<long long>(report.tensors),
              bytes_text(static_cast<double>(report.bytes)).c_str(), table.text().c_str(), report.digest.c_str());
}

}  // namespace

ExitCode run(const VerifyCommand& command, Process&) {
  VerifyReport report;
  report.checkpoint = command.path;
  ExitCode code = ExitCode::kOk;
  try {
    verify(real_file_system(), command.path, report);
  } catch (const Error& error) {
    report.error = error.what();
    code = error.code();
    if (!command.json) print_failure(error);
  }
  if (command.json) {
    std::fputs(to_json(report).c_str(), stdout);
  } else if (report.ok) {
    print(report);
  }
  return code;
}

}  // namespace ballast
