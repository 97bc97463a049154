// Defines: ValueGathering: values of other nodes that are here only while somebody reads them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "comm/split/foreign_values.h"
#include "comm/split/node_buckets.h"
#include "comm/split/sum_exchange.h"

namespace ballast {

/// A node keeps the slices that its workers own; those of other nodes are gathered bucket by bucket, in the type that
/// is published, before an operation reads them. The first worker that needs a bucket which is not here fetches it: it
/// asks the owners by a small message, and their threads answer while they compute, straight into the node's shared
/// values. Buckets that the next operations will read are fetched without waiting; a few that nobody uses any more
/// stay, for neighbours that are a little behind. The pages of the others are given back.
///
/// Who may touch what, and when:
///  * Elements of other nodes' slices: NodeBuckets says. They are written by the fetcher's transfers from coming to
///    here, read by those who use the bucket, and given back when nobody does.
///  * My slices: read by my transfers for a worker that asks, from start() until wait_for_readers() has returned. Who
///    asks names the number of the start() whose values it wants; an owner that is not so far answers when it is. A
///    worker asks for values of its own latest start() only, and no later than its reduce(): then it waits for what it
///    asked for. So when a node's workers have met in reduce(), all that they asked for has arrived; one of them tells
///    every owner so, and no owner leaves reduce() before it has heard it from all nodes. Hence nobody reads a slice
///    when its owner updates it, whether what read it before was training or evaluation.
///  * start() without a step (first values, those of a checkpoint) has no such meeting: nobody may be in a pass.
///
/// Bytes on the wire for each micro-batch pass of a node: twice the values of the others' slices, once for forward and
/// once for backward, and again where forward runs again in backward; less what stays from one to the other.
class ValueGathering final : public ForeignValues {
 public:
  static constexpr std::size_t kIdleBuckets = 4;  ///< that stay on a node

  /// Collective over the node. ConfigError where communicators are not concurrent(): whoever waits in a
  /// collective would not answer.
  ValueGathering(const SplitParts& parts, const std::vector<Block>& blocks);

  void expect() override;
  void wait_for_readers() override;
  void start() override;
  void use(std::span<const ElementRange> now, std::span<const ElementRange> next) override;
  void end() override;

 private:
  /// What a worker sends to an owner.
  struct Note {
    std::int64_t start = 0;  ///< number of the start() whose values are wanted
    std::int32_t bucket = 0;
    std::int32_t from = 0;  ///< rank
  };
  /// Of a bucket that I use; kNone: I do not.
  enum class Fetcher : std::uint8_t { kNone, kNeighbour, kMe };
  /// A slice of another node.
  struct ForeignSlice {
    int owner = 0;
    std::vector<PublishedRun> runs;
    Note note;
  };

  void plan(const std::vector<Block>& blocks);
  [[nodiscard]] DeviceSpan span_of(const PublishedRun& run) const;
  bool heard();
  void answer(const Note& note);
  void add_buckets(std::span<const ElementRange> ranges, std::vector<int>& buckets) const;
  void take(int bucket);
  void fetch(int bucket);
  void wait_for(int bucket);
  void give_back(int bucket);

  SplitParts parts_;
  std::vector<std::vector<ForeignSlice>> foreign_;  ///< by bucket
  std::vector<std::vector<PublishedRun>> mine_;     ///< by bucket
  std::vector<int> owners_;                         ///< on other nodes, whom I tell when my node has read
  bool owns_ = false;                               ///< I have slices
  std::unique_ptr<SharedSegments> words_;
  NodeBuckets buckets_;

  std::vector<int> held_;             ///< buckets that I use; rising
  std::vector<int> needed_, wanted_;  ///< of the call under way; wanted_ rising
  std::vector<int> order_;            ///< of the call under way: those of `now`, then those of `next`
  std::vector<int> missing_;          ///< by bucket: messages that I have asked for and that are not here
  std::vector<Fetcher> fetcher_;      ///< by bucket
  std::int64_t started_ = 0;
  bool listening_ = false;

  std::vector<std::byte> readers_;  ///< by node: its message that it has read
  std::byte has_read_{};
  std::atomic<int> readers_left_ = 0;

  Note heard_, end_;
  std::atomic<bool> ended_ = false;
  std::mutex mutex_;            // of what follows: transfers answer in their thread
  std::int64_t published_ = 0;  ///< the latest start() that I can answer for
  std::vector<Note> early_;     ///< asked for values that I have not got yet
};

}  // namespace ballast
