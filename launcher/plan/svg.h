// Defines: Svg: a drawing as SVG text. Lengths are pixels.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace ballast {

class Svg {
 public:
  Svg(double width, double height, const std::string& title);
  void rectangle(double x, double y, double width, double height, const std::string& colour,
                 const std::string& tooltip = "");
  void line(double x1, double y1, double x2, double y2, const std::string& colour);
  void curve(const std::vector<std::pair<double, double>>& points, const std::string& colour, bool dashed = false);
  /// `anchor`: "start", "middle" or "end".
  void text(double x, double y, const std::string& words, const char* anchor = "start", bool bold = false);
  [[nodiscard]] std::string finish() const { return body_ + "</svg>\n"; }

 private:
  std::string body_;
};

}  // namespace ballast
