#include "runtime/data/token_run.h"

#include <algorithm>

#include "runtime/data/first_look.h"

namespace ballast {
namespace {

[[noreturn]] void refuse(const std::string& path, std::int64_t offset, std::int32_t token, std::int64_t vocabulary) {
  throw data_error(path, offset,
                   "token " + std::to_string(token) + " is outside the vocabulary of " + std::to_string(vocabulary) +
                       ". Raise model.vocabulary, or make the file again with the right tokeniser");
}

/// A file that has lost its header would pass for one without.
void require_same_header(const FileList& files, const TokenPiece& piece, const TokenPiece& first) {
  if (piece.tokens.first_byte == first.tokens.first_byte) return;
  throw data_error(files[piece.file].path, 0,
                   "a header of " + std::to_string(piece.tokens.first_byte) + " bytes, but " + files[first.file].path +
                       " has one of " + std::to_string(first.tokens.first_byte) +
                       ": it is damaged, or does not belong to the set. Get it again, or move it away");
}

}  // namespace

std::int64_t TokenRun::tokens() const {
  std::int64_t count = 0;
  for (const TokenPiece& piece : pieces) count += piece.tokens.count;
  return count;
}

std::int64_t TokenRun::windows(std::int64_t positions) const {
  std::int64_t count = 0;
  for (const TokenPiece& piece : pieces) count += piece.windows(positions);
  return count;
}

std::string TokenRun::fingerprint() const {
  std::int64_t first_byte = pieces.front().tokens.first_byte;
  for (std::size_t file = 0; file < pieces.front().file; ++file) first_byte += files[file].bytes;
  return files_fingerprint + ":" + std::to_string(first_byte) + "+" + std::to_string(tokens());
}

TokenRun open_run(const std::string& path, FindTokens find_tokens) {
  TokenRun run{list_files(path), {}, {}};
  const FileSet set(run.files);
  for (std::size_t file = 0; file < run.files.size(); ++file) {
    run.pieces.push_back({file, find_tokens(set, file)});
    require_same_header(run.files, run.pieces.back(), run.pieces.front());
  }
  run.files_fingerprint = set.fingerprint();
  return run;
}

TokenRun split_tail(TokenRun& run, std::int64_t count, std::int64_t positions) {
  TokenRun tail{run.files, {}, run.files_fingerprint};
  bool has_window = false;
  for (std::size_t i = run.pieces.size(); i > 0 && (count > 0 || !has_window); --i) {
    TokenLayout& rest = run.pieces[i - 1].tokens;
    const std::int64_t taken = std::min(rest.count, has_window ? count : std::max(count, positions + 1));
    rest.count -= taken;
    count -= taken;
    has_window = has_window || taken > positions;
    tail.pieces.push_back({run.pieces[i - 1].file, {rest.first_byte + rest.count * rest.bytes, taken, rest.bytes}});
  }
  std::reverse(tail.pieces.begin(), tail.pieces.end());
  return tail;
}

void check_vocabulary(const TokenRun& run, std::int64_t vocabulary) {
  std::vector<std::int64_t> sizes;
  sizes.reserve(run.pieces.size());
  for (const TokenPiece& piece : run.pieces) sizes.push_back(piece.tokens.count * piece.tokens.bytes);
  const FileSet set(run.files);
  std::vector<std::byte> buffer;
  std::vector<std::int32_t> tokens;
  for (const Extent& extent : first_look(sizes)) {
    const TokenPiece& piece = run.pieces[extent.part];
    const std::int64_t first = extent.first / piece.tokens.bytes;
    tokens.resize(static_cast<std::size_t>((extent.first + extent.count) / piece.tokens.bytes - first));
    read_tokens(set, piece, first, vocabulary, buffer, tokens);
  }
}

void read_tokens(const FileSet& set, const TokenPiece& piece, std::int64_t first, std::int64_t vocabulary,
                 std::vector<std::byte>& buffer, std::span<std::int32_t> out) {
  const TokenLayout& layout = piece.tokens;
  const std::int64_t offset = layout.first_byte + first * layout.bytes;
  buffer.resize(out.size() * static_cast<std::size_t>(layout.bytes));
  set.read(piece.file, offset, buffer);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = layout.bytes == 1
                 ? std::to_integer<std::int32_t>(buffer[i])
                 : std::to_integer<std::int32_t>(buffer[2 * i]) | std::to_integer<std::int32_t>(buffer[2 * i + 1]) << 8;
    if (out[i] < vocabulary) continue;
    refuse(set.files()[piece.file].path, offset + static_cast<std::int64_t>(i) * layout.bytes, out[i], vocabulary);
  }
}

}  // namespace ballast
