// Defines: AllRanksListener: a test that fails on one rank fails on every rank, and rank 0 prints why.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"

namespace ballast {

/// Gathers at test end only, on a communicator of its own: during a test its messages could meet the test's.
class AllRanksListener final : public testing::EmptyTestEventListener {
 public:
  explicit AllRanksListener(std::unique_ptr<Communicator> group) : group_(std::move(group)) {}

  void OnTestEnd(const testing::TestInfo& test) override {
    std::string mine;
    for (int i = 0; i < test.result()->total_part_count(); ++i) {
      const testing::TestPartResult& part = test.result()->GetTestPartResult(i);
      if (!part.failed()) continue;
      mine += std::string(part.file_name() == nullptr ? "?" : part.file_name()) + ":" +
              std::to_string(part.line_number()) + ": " + part.message() + "\n";
    }
    const std::vector<std::string> texts = all_gather_strings(*group_, mine);
    for (int rank = 0; rank < group_->size(); ++rank) {
      const std::string& text = texts[static_cast<std::size_t>(rank)];
      if (rank != group_->rank() && !text.empty()) ADD_FAILURE() << "[rank " << rank << "] " << text;
    }
  }

 private:
  std::unique_ptr<Communicator> group_;
};

}  // namespace ballast
