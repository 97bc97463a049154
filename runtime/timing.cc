#include "runtime/timing.h"

#include <algorithm>
#include <cstring>

namespace ballast {

std::vector<double> repeat_for(double seconds, Backend& backend, Communicator& world,
                               const std::function<void()>& work) {
  work();
  backend.synchronize();
  world.barrier();
  std::vector<double> times;
  const Clock all;
  do {
    const Clock one;
    work();
    backend.synchronize();
    times.push_back(one.seconds());
  } while (all.seconds() < seconds);
  return times;
}

std::vector<double> gather_numbers(Communicator& world, double mine) {
  std::vector<double> numbers;
  for (const std::vector<std::byte>& bytes : world.all_gather(std::as_bytes(std::span(&mine, 1)))) {
    std::memcpy(&numbers.emplace_back(), bytes.data(), sizeof(double));
  }
  return numbers;
}

Buffer filled(Backend& backend, std::int64_t elements, DType dtype) {
  constexpr std::int64_t kPiece = 1 << 16;
  std::vector<float> host(static_cast<std::size_t>(std::min(kPiece, elements)));
  std::uint32_t bits = 1;
  for (float& x : host) {
    bits = bits * 1664525U + 1013904223U;  // Knuth's and Lewis's linear congruential generator
    x = static_cast<float>(static_cast<std::int32_t>(bits)) * 0x1p-31F;
  }
  Buffer piece(backend, static_cast<std::int64_t>(host.size()), DType::kF32);
  backend.upload(std::as_bytes(std::span(host)), piece.span());
  Buffer all(backend, elements, dtype);
  for (std::int64_t begin = 0; begin < elements; begin += kPiece) {
    const std::int64_t size = std::min(kPiece, elements - begin);
    backend.convert(piece.span().subspan(0, size), all.span().subspan(begin, size));
  }
  backend.synchronize();
  return all;
}

}  // namespace ballast
