// Defines: Table: columns of text for the terminal.
#pragma once

#include <string>
#include <vector>

namespace ballast {

class Table {
 public:
  /// `alignment`: one letter per column, 'l' left or 'r' right.
  explicit Table(std::string alignment) : alignment_(std::move(alignment)) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] std::string text() const;

 private:
  std::string alignment_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace ballast
