// Defines: SimulatedNodes: a communicator whose workers are said to lie on nodes of so many, and that counts what it
// sends.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "comm/communicator.h"

namespace ballast {

/// Worker r of `world` is on node r / workers_per_node. Its groups count into `sent`. `concurrent` false: as where MPI
/// may be called by one thread only.
class SimulatedNodes final : public Communicator {
 public:
  SimulatedNodes(Communicator& world, int workers_per_node, std::atomic<std::int64_t>& sent, bool concurrent = true)
      : inner_(world), workers_per_node_(workers_per_node), sent_(sent), concurrent_(concurrent) {}

  [[nodiscard]] int rank() const override { return inner_.rank(); }
  [[nodiscard]] int size() const override { return inner_.size(); }
  [[nodiscard]] bool concurrent() const override { return concurrent_ && inner_.concurrent(); }
  void barrier() override { inner_.barrier(); }
  void broadcast(std::span<std::byte> bytes, int root) override { inner_.broadcast(bytes, root); }
  void all_reduce(std::span<std::int64_t> values, Reduction reduction) override {
    inner_.all_reduce(values, reduction);
  }
  void all_reduce_disjoint(std::span<double> values) override { inner_.all_reduce_disjoint(values); }
  [[nodiscard]] std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) override {
    return inner_.all_gather(mine);
  }
  [[nodiscard]] std::unique_ptr<Request> send(std::span<const std::byte> bytes, int to, int tag) override {
    sent_ += std::ssize(bytes);
    return inner_.send(bytes, to, tag);
  }
  [[nodiscard]] std::unique_ptr<Request> receive(std::span<std::byte> bytes, int from, int tag) override {
    return inner_.receive(bytes, from, tag);
  }
  [[nodiscard]] std::unique_ptr<Communicator> split(int colour) override { return part(inner_.split(colour)); }
  [[nodiscard]] std::unique_ptr<Communicator> split_by_node() override {
    return part(inner_.split(inner_.rank() / workers_per_node_));
  }
  [[nodiscard]] std::unique_ptr<SharedSegments> share(std::int64_t bytes, Filling filling) override {
    return inner_.share(bytes, filling);
  }

 private:
  [[nodiscard]] std::unique_ptr<Communicator> part(std::unique_ptr<Communicator> group) {
    auto nodes = std::make_unique<SimulatedNodes>(*group, workers_per_node_, sent_, concurrent_);
    nodes->owned_ = std::move(group);
    return nodes;
  }

  std::unique_ptr<Communicator> owned_;  ///< nothing for the world
  Communicator& inner_;
  int workers_per_node_;
  std::atomic<std::int64_t>& sent_;
  bool concurrent_;
};

}  // namespace ballast
