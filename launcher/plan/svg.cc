#include "launcher/plan/svg.h"

#include "launcher/bench/figures.h"

namespace ballast {
namespace {

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '"') {
      out += "&quot;";
    } else {
      out += c;
    }
  }
  return out;
}

std::string attribute(const char* name, const std::string& value) {
  return ' ' + std::string(name) + "=\"" + value + '"';
}
std::string attribute(const char* name, double value) { return attribute(name, fixed_number(value, 2)); }

}  // namespace

Svg::Svg(double width, double height, const std::string& title) {
  const std::string w = fixed_number(width, 0), h = fixed_number(height, 0);
  body_ = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + w + ' ' + h + "\" width=\"" + w +
          "\" height=\"" + h + "\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"11\" fill=\"#222222\">\n" +
          "<title>" + escaped(title) + "</title>\n";
  rectangle(0, 0, width, height, "#ffffff");
}

void Svg::rectangle(double x, double y, double width, double height, const std::string& colour,
                    const std::string& tooltip) {
  body_ += "<rect" + attribute("x", x) + attribute("y", y) + attribute("width", width) + attribute("height", height) +
           attribute("fill", colour);
  body_ += tooltip.empty() ? "/>\n" : "><title>" + escaped(tooltip) + "</title></rect>\n";
}

void Svg::line(double x1, double y1, double x2, double y2, const std::string& colour) {
  body_ += "<line" + attribute("x1", x1) + attribute("y1", y1) + attribute("x2", x2) + attribute("y2", y2) +
           attribute("stroke", colour) + "/>\n";
}

void Svg::curve(const std::vector<std::pair<double, double>>& points, const std::string& colour, bool dashed) {
  std::string places;
  for (const auto& [x, y] : points) places += fixed_number(x, 1) + ',' + fixed_number(y, 1) + ' ';
  body_ += "<polyline" + attribute("points", places) + attribute("fill", "none") + attribute("stroke", colour) +
           attribute("stroke-width", "2") + (dashed ? attribute("stroke-dasharray", "5 3") : "") + "/>\n";
}

void Svg::text(double x, double y, const std::string& words, const char* anchor, bool bold) {
  body_ += "<text" + attribute("x", x) + attribute("y", y) + attribute("text-anchor", anchor) +
           (bold ? attribute("font-weight", "bold") : "") + '>' + escaped(words) + "</text>\n";
}

}  // namespace ballast
