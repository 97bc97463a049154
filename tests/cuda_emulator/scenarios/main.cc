// cuda_emulator_scenario NAME: exit code 0 when the scenario's result is right, 1 and "wrong result" when it is not.
#include <cstdio>

#include "scenario.h"

namespace cuda_emulator::scenarios {

namespace {

int run(const std::string& name) {
  for (const auto& scenarios : {block_scenarios(), memory_scenarios(), stream_scenarios(), graph_scenarios()}) {
    for (const Scenario& scenario : scenarios) {
      if (scenario.name != name) continue;
      if (scenario.run()) return 0;
      std::fputs("wrong result\n", stderr);
      return 1;
    }
  }
  std::fprintf(stderr, "no scenario '%s'\n", name.c_str());
  return 64;
}

}  // namespace
}  // namespace cuda_emulator::scenarios

int main(int argc, char** argv) { return cuda_emulator::scenarios::run(argc > 1 ? argv[1] : ""); }
