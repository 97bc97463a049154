// Who is to blame, from what the flight recorders of all workers say.
#include "runtime/supervision/hang_analysis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>

namespace ballast {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kNow = 1000 * kSecond;
constexpr std::uint64_t kWorld = 1;

/// A worker on a host of its own clock, in step 40.
WorkerFacts worker(int rank, std::string_view phase, std::int64_t seconds_ago) {
  FlightLog log;
  FlightHeader& header = log.header;
  header.rank = rank;
  std::ranges::copy("node" + std::to_string(rank), header.host.begin());
  std::ranges::copy(phase, header.phase.begin());
  header.step = 40;
  header.anchor_ns = 50 * kSecond * (rank + 1);
  header.wall_anchor_ns = kNow - 100 * kSecond;
  const std::int64_t now = header.anchor_ns + 100 * kSecond;
  header.alive_ns = now;
  header.progress_ns = now - seconds_ago * kSecond;
  header.groups[0] = {.id = kWorld, .size = 4, .entered = 811};
  return {log, ProcessState::kUnknown};
}

WorkerFacts waiting_in(WorkerFacts facts, FlightRecord record) {
  FlightHeader& header = facts.log->header;
  record.number = 5;
  record.step = 40;
  record.blocked_ns = header.progress_ns;
  for (FlightGroup& group : header.groups) {
    if (group.id != 0 && group.id == record.group && record.sequence > 0) group.entered = record.sequence;
  }
  facts.log->blocked = record;
  return facts;
}

FlightRecord barrier(std::uint64_t number, std::uint64_t group = kWorld) {
  return {.group = group, .sequence = number};
}

FlightRecord message(FlightCall call, int partner) {
  FlightRecord record{.group = kWorld, .count = 4096, .call = call};
  record.partner = partner;
  return record;
}

TEST(HangAnalysis, NamesTheWorkerThatNeverEnteredTheCollective) {
  const auto verdict = explain_hang({waiting_in(worker(0, "communication", 12), barrier(812)),
                                     waiting_in(worker(1, "communication", 11), barrier(812)), worker(2, "data", 13),
                                     waiting_in(worker(3, "communication", 10), barrier(812))},
                                    kNow);
  EXPECT_EQ(verdict.code, ExitCode::kHang);
  EXPECT_THAT(verdict.suspects, ElementsAre(2));
  EXPECT_EQ(verdict.text,
            "no progress for 12 s: rank 2 on node2 (13 s ago in phase data of step 40) has not entered the barrier in "
            "step 40 (number 812 of its group); ranks 0, 1 and 3 wait for it");
}

TEST(HangAnalysis, SaysThatAProcessIsStoppedOrGone) {
  std::vector<WorkerFacts> workers = {waiting_in(worker(0, "communication", 12), barrier(812)),
                                      worker(1, "forward", 13)};
  workers[1].process = ProcessState::kStopped;
  EXPECT_THAT(explain_hang(workers, kNow).text, HasSubstr("rank 1 on node1 (its process is stopped, by SIGSTOP"));
  workers[1].process = ProcessState::kDead;
  EXPECT_THAT(explain_hang(workers, kNow).text, HasSubstr("rank 1 on node1 (its process is gone"));
}

TEST(HangAnalysis, NamesAStoppedWorkerThatHadEnteredTheCollective) {
  std::vector<WorkerFacts> workers = {waiting_in(worker(0, "communication", 12), barrier(812)),
                                      waiting_in(worker(1, "communication", 13), barrier(812))};
  workers[1].process = ProcessState::kStopped;
  const auto verdict = explain_hang(workers, kNow);
  EXPECT_THAT(verdict.suspects, ElementsAre(1));
  EXPECT_THAT(verdict.text, AllOf(HasSubstr("rank 1 on node1"), HasSubstr("does not go on in the barrier"),
                                  HasSubstr("rank 0 waits for it")));
}

TEST(HangAnalysis, NamesAHostThatDoesNotAnswer) {
  std::vector<WorkerFacts> workers = {waiting_in(worker(0, "communication", 12), barrier(812)),
                                      waiting_in(worker(1, "communication", 13), barrier(812))};
  workers[1].answers = false;
  const auto verdict = explain_hang(workers, kNow);
  EXPECT_THAT(verdict.suspects, ElementsAre(1));
  EXPECT_THAT(verdict.text, HasSubstr("its process or host does not answer; 13 s ago"));
}

TEST(HangAnalysis, FollowsMessagesToTheWorkerThatWaitsForNobody) {
  // 0 waits for a message of 1, which waits for one of 2, which computes; 3 waits for 0.
  const auto verdict = explain_hang(
      {waiting_in(worker(0, "communication", 12), message(FlightCall::kReceive, 1)),
       waiting_in(worker(1, "communication", 14), message(FlightCall::kReceive, 2)), worker(2, "backward", 15),
       waiting_in(worker(3, "communication", 20), message(FlightCall::kSend, 0))},
      kNow);
  EXPECT_THAT(verdict.suspects, ElementsAre(2));
  EXPECT_THAT(verdict.text, AllOf(HasSubstr("no progress for 14 s: rank 2 on node2"), HasSubstr("does not send the"),
                                  HasSubstr("message of 4096 bytes from rank 2"), HasSubstr("rank 1 waits for it")));
}

TEST(HangAnalysis, BlamesNobodyOutsideTheGroup) {
  constexpr std::uint64_t kPair = 77;
  std::vector<WorkerFacts> workers = {worker(0, "forward", 1), worker(1, "forward", 1), worker(2, "communication", 12),
                                      worker(3, "data", 13)};
  for (const std::size_t rank : {2U, 3U}) workers[rank].log->header.groups[1] = {.id = kPair, .size = 2, .entered = 4};
  workers[2] = waiting_in(workers[2], barrier(5, kPair));
  const auto verdict = explain_hang(workers, kNow);
  EXPECT_THAT(verdict.suspects, ElementsAre(3));
}

TEST(HangAnalysis, CallsItADisagreementWhenAllWaitForEachOther) {
  FlightRecord other = message(FlightCall::kReceive, 0);
  const auto verdict = explain_hang(
      {waiting_in(worker(0, "communication", 12), barrier(812)), waiting_in(worker(1, "communication", 13), other)},
      kNow);
  EXPECT_EQ(verdict.code, ExitCode::kDesync);
  EXPECT_THAT(verdict.suspects, IsEmpty());
  EXPECT_THAT(verdict.text,
              AllOf(HasSubstr("the workers wait for each other"), HasSubstr("rank 0 in barrier in step 40"),
                    HasSubstr("rank 1 in message of 4096 bytes from rank 0")));
}

TEST(HangAnalysis, NamesAWorkerWithoutARecord) {
  const auto verdict = explain_hang({waiting_in(worker(0, "start", 12), barrier(812)), WorkerFacts{}}, kNow);
  EXPECT_THAT(verdict.suspects, ElementsAre(1));
  EXPECT_THAT(verdict.text, HasSubstr("rank 1 (it left no record) has not entered the barrier"));
}

TEST(HangAnalysis, NamesFourOfMany) {
  std::vector<WorkerFacts> workers = {waiting_in(worker(0, "communication", 12), barrier(812))};
  for (int rank = 1; rank < 20; ++rank) workers.push_back(worker(rank, "data", 13));
  const auto verdict = explain_hang(workers, kNow);
  EXPECT_EQ(verdict.suspects.size(), 19U);
  EXPECT_THAT(verdict.text, HasSubstr("rank 4 on node4 (13 s ago in phase data of step 40) and 15 more has not"));
}

}  // namespace
}  // namespace ballast
