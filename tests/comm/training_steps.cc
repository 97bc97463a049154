#include "tests/comm/training_steps.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <span>
#include <thread>

#include "tests/support/reference_backend.h"

namespace ballast {
namespace {

constexpr float kRate = 0.125F;
constexpr std::int64_t kMostElements = 100;  ///< per block: small, so that there are many

struct Layout {
  std::vector<Block> blocks;
  std::int64_t flat_size = 0;
};

/// Parameters of odd sizes at offsets that are multiples of 16; every second one is published as bf16 where there is a
/// bf16 copy.
Layout make_layout(bool bf16, std::int64_t scale) {
  Layout layout;
  int parameter = 0;
  const std::int64_t most = kMostElements * scale;
  for (const std::int64_t base : {700, 16, 5, 333, 1, 64, 290, 31}) {
    const std::int64_t size = base * scale;
    const DType publish = bf16 && parameter++ % 2 == 0 ? DType::kBF16 : DType::kF32;
    for (std::int64_t at = 0; at < size; at += most) {
      layout.blocks.push_back(
          {layout.flat_size + at, layout.flat_size + std::min(at + most, size), publish, /*exact=*/base == 290});
    }
    layout.flat_size += (size + 15) / 16 * 16;
  }
  return layout;
}

float to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7fffU + ((bits >> 16) & 1U)) & 0xffff0000U);
}

std::unique_ptr<Backend> backend_of(const StepsOptions& options) {
  if (options.backend) return options.backend();
  return std::make_unique<ReferenceBackend>();
}

/// Numbers of very different size, so that every change in the order of additions shows.
float noise(int step, int shard, int micro, std::int64_t element) {
  const std::int64_t index = ((std::int64_t{step} * 64 + shard) * 2 + micro) * 1000003 + element;
  auto x = static_cast<std::uint64_t>(index) * 0x9e3779b97f4a7c15U;
  x ^= x >> 29;
  x *= 0xbf58476d1ce4e5b9U;
  const float mantissa = static_cast<float>((x >> 40) & 0xffffU) / 65536.0F - 0.5F;
  return std::ldexp(mantissa, static_cast<int>((x >> 32) % 20U) - 10);
}

float gradient(int step, int shard, int micro, std::int64_t element, float value) {
  return noise(step, shard, micro, element) + 0.25F * value;
}

float first_value(std::int64_t element) { return noise(999, 0, 0, element); }

/// Lets workers arrive in different orders at every step.
void dawdle(int rank, int step) {
  std::this_thread::sleep_for(std::chrono::microseconds((rank * 7 + step * 13) % 5 * 20));
}

class Training {
 public:
  Training(Communicator& world, const StepsOptions& options)
      : world_(world),
        layout_(make_layout(options.bf16, options.scale)),
        bf16_(options.bf16),
        backend_(backend_of(options)),
        split_(options.make(world, *backend_, layout_.flat_size, layout_.blocks, options.bf16, options.split)),
        evaluate_(options.evaluate),
        gathers_(options.split.gathers) {}

  std::vector<std::uint32_t> run(int steps) {
    set_my_values(first_value);
    publish();
    for (int step = 0; step < steps; ++step) {
      split_->begin_step();
      for (int shard = split_->my_shards().begin; shard < split_->my_shards().end; ++shard) compute(step, shard);
      split_->reduce();
      const std::vector<float> sum = download_my_slices(split_->sum());
      record(sum, true);
      expect_squares();
      const std::vector<float> values = download_my_slices(split_->values());
      set_my_values([&](std::int64_t e) {
        const auto at = static_cast<std::size_t>(e);
        return values[at] - kRate * sum[at];
      });
      publish();
      const std::vector<float> published = seen();
      record(published, false);
      if (gathers_) expect_gathered();
      for (int pass = (world_.rank() + step) % 3; evaluate_ && pass > 0; --pass) EXPECT_TRUE(seen() == published);
    }
    return bits_;
  }

 private:
  [[nodiscard]] std::vector<float> download(ConstDeviceSpan span) {
    std::vector<float> numbers(static_cast<std::size_t>(span.size));
    backend_->download(span, std::as_writable_bytes(std::span(numbers)));
    backend_->synchronize();
    return numbers;
  }

  /// At their places; zeros between them. The rest may be others' to write.
  [[nodiscard]] std::vector<float> download_my_slices(ConstDeviceSpan span) {
    std::vector<float> numbers(static_cast<std::size_t>(span.size));
    for (const Slice& slice : split_->my_slices()) {
      const std::vector<float> part = download(span.subspan(slice.begin, slice.end - slice.begin));
      std::copy(part.begin(), part.end(), numbers.begin() + slice.begin);
    }
    return numbers;
  }

  void upload(const std::vector<float>& numbers, DeviceSpan span) {
    backend_->upload(std::as_bytes(std::span(numbers)), span);
    backend_->synchronize();
  }

  template <typename Value>
  void set_my_values(const Value& value) {
    for (const Slice& slice : split_->my_slices()) {
      std::vector<float> numbers;
      for (std::int64_t e = slice.begin; e < slice.end; ++e) numbers.push_back(value(e));
      upload(numbers, split_->values().subspan(slice.begin, slice.end - slice.begin));
    }
  }

  template <typename Action>
  void for_my_elements(const Action& action) {
    for (const Slice& slice : split_->my_slices()) {
      EXPECT_EQ(slice.owner, world_.rank());
      for (int b = slice.first_block; b < slice.first_block + slice.block_count; ++b) {
        const Block& block = layout_.blocks[static_cast<std::size_t>(b)];
        for (std::int64_t e = block.begin; e < block.end; ++e) action(e);
      }
    }
  }

  void expect_squares() {
    std::vector<double> expected(layout_.blocks.size(), 0.0);
    for (const Slice& slice : split_->my_slices()) {
      for (int b = slice.first_block; b < slice.first_block + slice.block_count; ++b) {
        const Block& block = layout_.blocks[static_cast<std::size_t>(b)];
        const ConstDeviceSpan sum = split_->sum().subspan(block.begin, block.end - block.begin);
        expected[static_cast<std::size_t>(b)] = backend_->sum_of_squares(sum);
      }
    }
    EXPECT_EQ(split_->squares(), expected);
  }

  void publish() {
    if (bf16_) {
      for (const Slice& slice : split_->my_slices()) {
        const std::int64_t size = slice.end - slice.begin;
        backend_->convert(split_->values().subspan(slice.begin, size),
                          split_->compute_values().subspan(slice.begin, size));
      }
    }
    split_->publish();
  }

  /// The values as the passes of any worker may read them: forward, then backward.
  [[nodiscard]] std::vector<float> seen() {
    std::vector<Block> order = layout_.blocks;
    const std::vector<float> values = pass_over(order);
    std::ranges::reverse(order);
    EXPECT_TRUE(pass_over(order) == values);
    return values;
  }

  /// Reads one block after the other, the next one announced; and nothing more in the end.
  [[nodiscard]] std::vector<float> pass_over(const std::vector<Block>& blocks) {
    std::vector<float> values(static_cast<std::size_t>(layout_.flat_size));
    std::vector<ElementRange> ranges;
    for (const Block& block : blocks) ranges.push_back({block.begin, block.end});
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const auto rest = std::span<const ElementRange>(ranges).subspan(i);
      split_->use_values(rest.first(1), rest.subspan(1, std::min<std::size_t>(rest.size() - 1, 1)));
      const std::vector<float> part = published(blocks[i]);
      std::ranges::copy(part, values.begin() + blocks[i].begin);
    }
    split_->use_values({}, {});
    return values;
  }

  [[nodiscard]] std::vector<float> published(const Block& block) {
    const std::int64_t size = block.end - block.begin;
    if (block.publish == DType::kF32) return download(split_->values().subspan(block.begin, size));
    return widened(split_->compute_values().subspan(block.begin, size));
  }

  [[nodiscard]] std::vector<float> widened(ConstDeviceSpan span) {
    std::vector<std::uint16_t> halves(static_cast<std::size_t>(span.size));
    backend_->download(span, std::as_writable_bytes(std::span(halves)));
    backend_->synchronize();
    std::vector<float> numbers;
    numbers.reserve(halves.size());
    for (const std::uint16_t half : halves) numbers.push_back(std::bit_cast<float>(std::uint32_t{half} << 16));
    return numbers;
  }

  void compute(int step, int shard) {
    dawdle(world_.rank(), step);
    const std::vector<float> values = seen();
    std::vector<float> gradients = download(split_->gradients(shard));
    for (const Block& b : layout_.blocks) std::fill(gradients.begin() + b.begin, gradients.begin() + b.end, 0.0F);
    EXPECT_TRUE(std::all_of(gradients.begin(), gradients.end(), [](float g) { return g == 0.0F; }));
    for (int micro = 0; micro < 2; ++micro) {
      const DeviceSpan span = split_->gradients(shard);
      for (auto block = layout_.blocks.rbegin(); block != layout_.blocks.rend(); ++block) {
        const auto at = static_cast<std::size_t>(block->begin);
        const auto size = static_cast<std::size_t>(block->end - block->begin);
        for (std::size_t e = at; e < at + size; ++e) {
          gradients[e] += gradient(step, shard, micro, static_cast<std::int64_t>(e), values[e]);
        }
        backend_->upload(std::as_bytes(std::span(gradients).subspan(at, size)),
                         span.subspan(block->begin, block->end - block->begin));
        if (micro == 1) split_->gradients_ready(block->begin);
      }
      backend_->synchronize();
    }
    split_->shard_done(shard);
  }

  /// The bits of every element of every block: what its owner has in `numbers`.
  [[nodiscard]] std::vector<std::int64_t> of_owners(const std::vector<float>& numbers) {
    std::vector<std::int64_t> bits(static_cast<std::size_t>(layout_.flat_size));
    for_my_elements([&](std::int64_t e) {
      const auto at = static_cast<std::size_t>(e);
      bits[at] = std::bit_cast<std::uint32_t>(numbers[at]);
    });
    world_.all_reduce(bits, Reduction::kSum);
    return bits;
  }

  /// The bits of what I have.
  [[nodiscard]] std::vector<std::int64_t> of_mine(const std::vector<float>& numbers) const {
    std::vector<std::int64_t> bits(static_cast<std::size_t>(layout_.flat_size));
    for (const Block& block : layout_.blocks) {
      for (auto at = static_cast<std::size_t>(block.begin); at < static_cast<std::size_t>(block.end); ++at) {
        bits[at] = std::bit_cast<std::uint32_t>(numbers[at]);
      }
    }
    return bits;
  }

  void expect_gathered() {
    split_->gather_values();
    const std::vector<float> all = download(split_->values());
    EXPECT_TRUE(of_mine(all) == of_owners(all));
  }

  /// Appends one number per element of every block. Sums are known to their owners only, so those are gathered.
  void record(const std::vector<float>& numbers, bool owners_only) {
    for (const std::int64_t bits : owners_only ? of_owners(numbers) : of_mine(numbers)) {
      bits_.push_back(static_cast<std::uint32_t>(bits));
    }
  }

  Communicator& world_;
  Layout layout_;
  bool bf16_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<SplitAllReduce> split_;
  bool evaluate_, gathers_;
  std::vector<std::uint32_t> bits_;
};

float tree_sum(const std::vector<float>& shards, std::size_t lo, std::size_t hi) {
  if (hi - lo == 1) return shards[lo];
  std::size_t power = 1;
  while (power * 2 < hi - lo) power *= 2;
  return tree_sum(shards, lo, lo + power) + tree_sum(shards, lo + power, hi);
}

/// What the code of `x` in block `block` stands for; `errors` of the whole buffer are updated.
std::vector<float> recoded(const GradientCoding& coding, const Block& block, const std::vector<float>& x,
                           std::vector<float>& errors) {
  const std::int64_t size = block.end - block.begin;
  CodedBlock coded{.elements = {0, size}, .coding = block.exact ? Coding::kF32 : coding.coding};
  coded.kept = std::max(1, static_cast<std::int32_t>(std::lround(coding.keep * static_cast<double>(size))));
  std::vector<std::int32_t> code(static_cast<std::size_t>(code_words(coded.coding, size, coded.kept)));
  std::vector<float> result(x.size());
  ReferenceBackend reference;
  const DeviceSpan words{code.data(), std::ssize(code), DType::kI32};
  const DeviceSpan error{errors.data() + block.begin, coding.leaves_errors() ? size : 0, DType::kF32};
  reference.compress({&coded, 1}, {x.data(), size, DType::kF32}, error, words);
  reference.decompress({&coded, 1}, words, {result.data(), size, DType::kF32});
  return result;
}

/// The sum over all shards of one block, by element. `errors`: by group.
std::vector<float> block_sum(const StepsOptions& options, const Block& block, int step, const std::vector<float>& seen,
                             std::vector<std::vector<float>>& errors) {
  const auto shards = static_cast<std::size_t>(options.split.shards);
  const bool coded = options.split.coding.active();
  const std::size_t groups = !coded ? 1 : options.split.groups == 0 ? shards : options.split.groups;
  const std::size_t group = shards / groups;
  std::vector<std::vector<float>> sums(groups);  // by group, then element
  for (std::int64_t e = block.begin; e < block.end; ++e) {
    std::vector<float> all;
    for (std::size_t s = 0; s < shards; ++s) {
      const float value = seen[static_cast<std::size_t>(e)];
      all.push_back(gradient(step, static_cast<int>(s), 0, e, value));
      all.back() += gradient(step, static_cast<int>(s), 1, e, value);
    }
    for (std::size_t g = 0; g < groups; ++g) sums[g].push_back(tree_sum(all, g * group, (g + 1) * group));
  }
  for (std::size_t g = 0; coded && g < groups; ++g) {
    sums[g] = recoded(options.split.coding, block, sums[g], errors[g]);
  }
  std::vector<float> total;
  for (std::size_t i = 0; i < sums.front().size(); ++i) {
    std::vector<float> of_groups;
    for (const std::vector<float>& sum : sums) of_groups.push_back(sum[i]);
    total.push_back(tree_sum(of_groups, 0, groups));
  }
  return total;
}

/// What everybody gets to see of a block's `next` values: the last ones, moved by what the code of the change stands
/// for.
std::vector<float> published(const StepsOptions& options, const Block& block, const std::vector<float>& values,
                             std::vector<float> next, std::vector<float>& errors) {
  const auto begin = static_cast<std::size_t>(block.begin);
  for (std::size_t i = 0; i < next.size(); ++i) next[i] -= values[begin + i];
  next = recoded(options.split.publish_coding, block, next, errors);
  for (std::size_t i = 0; i < next.size(); ++i) next[i] += values[begin + i];
  return next;
}

}  // namespace

std::vector<std::uint32_t> training_steps(Communicator& world, const StepsOptions& options) {
  return Training(world, options).run(options.steps);
}

std::vector<std::uint32_t> expected_steps(const StepsOptions& options) {
  const Layout layout = make_layout(options.bf16, options.scale);
  const auto size = static_cast<std::size_t>(layout.flat_size);
  std::vector<float> values(size), seen(size);
  std::vector<float> publish_errors(size);
  std::vector<std::vector<float>> errors(static_cast<std::size_t>(options.split.shards), std::vector<float>(size));
  std::vector<std::uint32_t> bits(2 * size * static_cast<std::size_t>(options.steps));
  const auto round = [](const Block& block, float x) { return block.publish == DType::kBF16 ? to_bf16(x) : x; };
  for (const Block& block : layout.blocks) {
    for (std::int64_t e = block.begin; e < block.end; ++e) {
      const auto at = static_cast<std::size_t>(e);
      values[at] = first_value(e);
      seen[at] = round(block, values[at]);
    }
    for (int step = 0; step < options.steps; ++step) {
      const std::size_t row = 2 * size * static_cast<std::size_t>(step);
      const std::vector<float> sums = block_sum(options, block, step, seen, errors);
      std::vector<float> next;
      for (std::size_t i = 0; i < sums.size(); ++i) {
        next.push_back(values[static_cast<std::size_t>(block.begin) + i] - kRate * sums[i]);
      }
      if (options.split.publish_coding.active()) next = published(options, block, values, next, publish_errors);
      for (std::size_t i = 0; i < sums.size(); ++i) {
        const std::size_t at = static_cast<std::size_t>(block.begin) + i;
        values[at] = next[i];
        seen[at] = round(block, values[at]);
        bits[row + at] = std::bit_cast<std::uint32_t>(sums[i]);
        bits[row + size + at] = std::bit_cast<std::uint32_t>(seen[at]);
      }
    }
  }
  return bits;
}

}  // namespace ballast
