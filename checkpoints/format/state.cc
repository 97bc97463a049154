// A Boost archive is not a safe parser: a changed byte can load silently or ask for gigabytes. So the frame's digest
// comes first, the archive holds nothing but fixed-size numbers and byte runs whose length we check ourselves, and no
// class information of Boost's: its bytes are the same for every version of Boost. They are those of a little-endian
// machine.
#include "checkpoints/format/state.h"

#include <bit>
#include <boost/archive/binary_iarchive.hpp>
#include <boost/archive/binary_oarchive.hpp>
#include <boost/serialization/level.hpp>
#include <boost/serialization/tracking.hpp>
#include <cstring>
#include <sstream>
#include <type_traits>

#include "checkpoints/format/digest.h"
#include "compute/error.h"

namespace ballast {
namespace {

static_assert(std::endian::native == std::endian::little, "the archive is that of a little-endian machine");

constexpr std::string_view kMagic = "BALLAST\n";
constexpr std::uint32_t kStateVersion = 1;
constexpr std::uint64_t kMaxEntries = 65536;

// What goes into the archive: a TrainingState and how many bytes the archive has, which bounds every length inside.
struct ArchivedState {
  TrainingState state;
  std::uint64_t archive_bytes = 0;
};

template <class Archive>
void save_text(Archive& archive, const std::string& text) {
  const std::uint64_t size = text.size();
  archive << size;
  archive.save_binary(text.data(), text.size());
}

template <class Archive>
void load_text(Archive& archive, std::string& text, std::uint64_t most) {
  std::uint64_t size = 0;
  archive >> size;
  if (size > most) throw DataError("a text is longer than the archive");
  text.resize(size);
  archive.load_binary(text.data(), text.size());
}

template <class Archive, class Value>
void save_map(Archive& archive, const std::map<std::string, Value>& map) {
  const std::uint64_t size = map.size();
  archive << size;
  for (const auto& [key, value] : map) {
    save_text(archive, key);
    if constexpr (std::is_same_v<Value, std::string>) {
      save_text(archive, value);
    } else {
      archive << value;
    }
  }
}

template <class Archive, class Value>
void load_map(Archive& archive, std::map<std::string, Value>& map, std::uint64_t most) {
  std::uint64_t size = 0;
  archive >> size;
  if (size > kMaxEntries) throw DataError("too many entries");
  for (std::uint64_t i = 0; i < size; ++i) {
    std::string key;
    Value value{};
    load_text(archive, key, most);
    if constexpr (std::is_same_v<Value, std::string>) {
      load_text(archive, value, most);
    } else {
      archive >> value;
    }
    if (!map.emplace(std::move(key), std::move(value)).second) throw DataError("an entry appears twice");
  }
}

template <class Archive>
void serialize(Archive& archive, ArchivedState& archived, const unsigned /*version: the frame's is checked instead*/) {
  TrainingState& state = archived.state;
  archive& state.step& state.samples_seen& state.seed& state.shards;
  if constexpr (Archive::is_saving::value) {
    save_text(archive, state.config);
    save_map(archive, state.numbers);
    save_map(archive, state.texts);
  } else {
    load_text(archive, state.config, archived.archive_bytes);
    load_map(archive, state.numbers, archived.archive_bytes);
    load_map(archive, state.texts, archived.archive_bytes);
  }
}

template <class Number>
void append(std::string& text, Number number) {
  text.append(reinterpret_cast<const char*>(&number), sizeof number);
}

template <class Number>
Number number_at(const std::string& text, std::size_t at) {
  Number number{};
  std::memcpy(&number, text.data() + at, sizeof number);
  return number;
}

// The archive inside the frame.
std::string unframe(const std::string& text, const std::string& path) {
  if (text.size() < static_cast<std::size_t>(kStateFrameBytes) || !text.starts_with(kMagic)) {
    throw DataError(path + ": damaged: not a training state");
  }
  const auto version = number_at<std::uint32_t>(text, 8);
  const auto size = number_at<std::uint64_t>(text, 12);
  std::string archive = text.substr(static_cast<std::size_t>(kStateFrameBytes));
  if (size != archive.size() || size > static_cast<std::uint64_t>(kMaxStateBytes)) {
    throw DataError(path + ": damaged: its length differs from what it says");
  }
  if (digest_of(text.substr(0, 20) + archive) != text.substr(20, kDigestDigits)) {
    throw DataError(path + ": damaged: its digest differs");
  }
  if (version > kStateVersion) {
    throw Error(
        path + ": written by a newer program (state version " + std::to_string(version) + "); use a newer Ballast",
        ExitCode::kVersion);
  }
  if (version == 0) throw DataError(path + ": version 0 never was");
  return archive;
}

}  // namespace
}  // namespace ballast

BOOST_CLASS_IMPLEMENTATION(ballast::ArchivedState, boost::serialization::object_serializable)
BOOST_CLASS_TRACKING(ballast::ArchivedState, boost::serialization::track_never)

namespace ballast {

std::string encode_state(const TrainingState& state) {
  std::stringbuf buffer(std::ios::out | std::ios::binary);
  {
    const ArchivedState archived{state, 0};
    boost::archive::binary_oarchive archive(buffer, boost::archive::no_header);
    archive << archived;
  }
  const std::string archive = buffer.str();
  require(archive.size() <= static_cast<std::size_t>(kMaxStateBytes), "the training state is larger than 64 MiB");
  std::string text(kMagic);
  append(text, kStateVersion);
  append(text, std::uint64_t{archive.size()});
  return text + digest_of(text + archive) + archive;
}

TrainingState decode_state(const std::string& text, const std::string& path) {
  const std::string bytes = unframe(text, path);
  std::stringbuf buffer(bytes, std::ios::in | std::ios::binary);
  ArchivedState archived{{}, bytes.size()};
  try {
    boost::archive::binary_iarchive archive(buffer, boost::archive::no_header);
    archive >> archived;
  } catch (const std::exception& error) {
    throw DataError(path + ": cannot be read: " + error.what());
  }
  if (buffer.in_avail() > 0) throw DataError(path + ": has bytes left over");
  return archived.state;
}

}  // namespace ballast
