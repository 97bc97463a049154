#include "launcher/launch/testimony.h"

#include <gtest/gtest.h>

namespace ballast {
namespace {

TEST(Testimony, NamesTheWorkerThatMpirunMissed) {
  Testimony heard;
  heard.hear("-----\nmpirun noticed that process rank 3 with PI");
  heard.hear("D 4711 on node h2 exited on signal 9 (Killed).\n-----\n");
  EXPECT_EQ(heard.cause(137, false), "worker 3 on h2 ended by signal 9 (Killed)");
  EXPECT_FALSE(heard.host_lost());
}

TEST(Testimony, AWorkersOwnWordsComeFirst) {
  Testimony heard;
  heard.hear("ballast: [rank 1 on h2] cannot allocate 8 GiB\nballast: something later\n");
  heard.hear("mpirun noticed that process rank 0 with PID 1 on node h1 exited on signal 9 (Killed).\n");
  EXPECT_EQ(heard.cause(70, false),
            "[rank 1 on h2] cannot allocate 8 GiB (exit code 70, a defect, or a library or machine that failed)");
}

TEST(Testimony, KnowsALostHostBeforeTheEnd) {
  Testimony heard;
  heard.hear("ORTE has lost communication with a remote daemon.\n\n  HNP daemon   : [[1,0],0] on node h1\n");
  EXPECT_FALSE(heard.host_lost());
  heard.hear("  Remote daemon: [[61612,0],2] on node 10.99.0.3\n");
  EXPECT_TRUE(heard.host_lost());
  EXPECT_EQ(heard.cause(205, false), "lost the MPI daemon on 10.99.0.3");
}

TEST(Testimony, WithoutWordsTheCodeSpeaks) {
  EXPECT_EQ(Testimony().cause(137, true), "mpirun was ended by signal 9 (Killed)");
  EXPECT_EQ(Testimony().cause(137, false), "a process of the job ended by signal 9 (Killed)");
  EXPECT_EQ(Testimony().cause(1, false), "mpirun ended with exit code 1");
}

}  // namespace
}  // namespace ballast
