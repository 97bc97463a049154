// Defines: TokenLayout, TokenPiece, TokenRun, open_run, split_tail, check_vocabulary, read_tokens: the tokens of one or
// many files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/data/file_set.h"

namespace ballast {

/// Where the tokens of a file lie.
struct TokenLayout {
  std::int64_t first_byte = 0;
  std::int64_t count = 0;  ///< tokens
  int bytes = 1;           ///< of one token, little-endian: 1 or 2
};

/// Finds the tokens of a file, and refuses one that is not of the format. Reads its header at most.
using FindTokens = TokenLayout (*)(const FileSet& set, std::size_t file);

/// Neighbouring tokens of one file.
struct TokenPiece {
  std::size_t file = 0;
  TokenLayout tokens;

  /// Samples of T tokens with the one after each: [0, T], [T, 2 T], ... None where the piece is too short.
  [[nodiscard]] std::int64_t windows(std::int64_t positions) const {
    return tokens.count > 0 ? (tokens.count - 1) / positions : 0;
  }
};

/// Pieces in the order of the files: at least one, and at most one of each file.
struct TokenRun {
  FileList files;
  std::vector<TokenPiece> pieces;
  std::string files_fingerprint;

  [[nodiscard]] std::int64_t tokens() const;
  [[nodiscard]] std::int64_t windows(std::int64_t positions) const;
  /// Of the files, and of where in them the run begins and how long it is.
  [[nodiscard]] std::string fingerprint() const;
};

/// All tokens of the files that `path` names; see list_files(). Every file's header is read and checked. DataError also
/// when one has a header of another length than the first.
[[nodiscard]] TokenRun open_run(const std::string& path, FindTokens find_tokens);

/// Cuts `count` tokens off the end, and more where that leaves no file with a window of T + 1 among them.
[[nodiscard]] TokenRun split_tail(TokenRun& run, std::int64_t count, std::int64_t positions);

/// Checks the tokens of a first look (first_look.h), so that a wrong vocabulary shows before training. DataError names
/// file and byte of a token that is not below `vocabulary`.
void check_vocabulary(const TokenRun& run, std::int64_t vocabulary);

/// Tokens [first, first + out.size()) of a piece. `buffer` is scratch. Throws as check_vocabulary().
void read_tokens(const FileSet& set, const TokenPiece& piece, std::int64_t first, std::int64_t vocabulary,
                 std::vector<std::byte>& buffer, std::span<std::int32_t> out);

}  // namespace ballast
