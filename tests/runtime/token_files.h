// Defines: tokens_of, section, read, data_error_of, sixteen_bit, llm_c: token files and data sets of them, for tests.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "runtime/dataset.h"
#include "tests/runtime/data_files.h"

namespace ballast {

inline InputSpec tokens_of(std::int64_t positions, std::int64_t vocabulary) {
  return {
      .kind = InputSpec::Kind::kTokens, .sample = {positions}, .targets_per_sample = positions, .classes = vocabulary};
}

inline DataSection section(const std::string& format, const std::string& train, double fraction = 0.0) {
  DataSection data;
  data.format = format;
  data.train = train;
  data.fraction = fraction;
  return data;
}

inline Samples read(const Dataset& data, const std::vector<std::int64_t>& indices) {
  Samples samples;
  data.read(indices, samples);
  return samples;
}

inline std::vector<std::int64_t> all_of(const Dataset& data) {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < data.size(); ++i) indices.push_back(i);
  return indices;
}

inline std::string data_error_of(const DataSection& config, const InputSpec& input) {
  return message_of<DataError>([&] { (void)open_datasets(config, input, 1); });
}

inline std::string sixteen_bit(std::initializer_list<std::uint32_t> tokens) {
  std::string bytes;
  for (const std::uint32_t token : tokens) bytes += little_endian_16(token);
  return bytes;
}

inline std::string llm_c(std::uint32_t magic, std::uint32_t version, std::uint32_t count, const std::string& tokens) {
  std::string file = little_endian_32(magic) + little_endian_32(version) + little_endian_32(count);
  file.resize(1024, '\0');
  return file + tokens;
}

}  // namespace ballast
