#include "checkpoints/format/json.h"

#include <algorithm>
#include <set>
#include <vector>

#include "checkpoints/format/digest.h"
#include "compute/error.h"

namespace ballast {
namespace {

constexpr int kMaxDepth = 8;

}  // namespace

nlohmann::json parse_json(const std::string& text, const std::string& path) {
  using Event = nlohmann::json::parse_event_t;
  std::vector<std::set<std::string>> keys;  // of the objects and arrays that are open
  const auto check = [&](int, Event event, nlohmann::json& parsed) {
    if (event == Event::object_start || event == Event::array_start) keys.emplace_back();
    if (event == Event::object_end || event == Event::array_end) keys.pop_back();
    if (keys.size() > kMaxDepth) throw DataError(path + ": nested too deeply");
    if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second) {
      throw DataError(path + ": a key appears twice");
    }
    return true;
  };
  try {
    return nlohmann::json::parse(text, check);
  } catch (const nlohmann::json::exception&) {
    throw DataError(path + ": not valid JSON");
  }
}

JsonView JsonView::member(const char* key) const {
  if (!value_->is_object()) fail("is not an object");
  const auto found = value_->find(key);
  if (found == value_->end()) fail(std::string("has no '") + key + "'");
  return {*found, where_ + " '" + key + "'"};
}

JsonView JsonView::element(std::size_t index) const {
  if (index >= array_size()) fail("is too short");
  return {(*value_)[index], where_ + " number " + std::to_string(index)};
}

std::size_t JsonView::array_size() const {
  if (!value_->is_array()) fail("is not an array");
  return value_->size();
}

void JsonView::require_members(std::initializer_list<const char*> keys) const {
  for (const char* key : keys) static_cast<void>(member(key));
  if (value_->size() != keys.size()) fail("has a member that this format does not know");
}

std::int64_t JsonView::number(std::int64_t most) const {
  if (!value_->is_number_unsigned()) fail("is not a whole number");
  const auto number = value_->get<std::uint64_t>();
  if (number > static_cast<std::uint64_t>(most)) fail("is too large");
  return static_cast<std::int64_t>(number);
}

std::string JsonView::text() const {
  if (!value_->is_string()) fail("is not a text");
  return value_->get<std::string>();
}

std::string JsonView::digest() const {
  std::string digest = text();
  if (!is_digest(digest)) fail("is not a digest of 32 hexadecimal digits");
  return digest;
}

void JsonView::fail(const std::string& what) const { throw DataError(where_ + " " + what); }

}  // namespace ballast
