// The plane of the formants: which expert the gate trusts where, the line that each expert draws, and the vowels.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "../support/chart_frame.hpp"
#include "../support/svg.hpp"
#include "data.hpp"
#include "systems.hpp"

namespace vowels {

using example::Plot;
using example::Point;
using example::Svg;

/// a x + b y + c: the logit of the gate or of an expert's unit as a function of the formants in Hz.
struct Affine {
  double a, b, c;

  double operator()(Point p) const { return a * p.x + b * p.y + c; }

  /// Where it is 0 between p and q.
  Point zero_between(Point p, Point q) const {
    const double share = (*this)(p) / ((*this)(p) - (*this)(q));
    return {p.x + share * (q.x - p.x), p.y + share * (q.y - p.y)};
  }
};

/// The part of a convex polygon where f is positive (Sutherland and Hodgman 1974).
inline std::vector<Point> cut(const std::vector<Point>& polygon, Affine f) {
  std::vector<Point> rest;
  for (std::size_t i = 0; i < polygon.size(); ++i) {
    const Point p = polygon[i], q = polygon[(i + 1) % polygon.size()];
    if (f(p) >= 0) rest.push_back(p);
    if ((f(p) >= 0) != (f(q) >= 0)) rest.push_back(f.zero_between(p, q));
  }
  return rest;
}

/// The two ends of the line f = 0 in a convex polygon; none if they do not meet.
inline std::vector<Point> line_in(const std::vector<Point>& polygon, Affine f) {
  std::vector<Point> ends;
  for (std::size_t i = 0; i < polygon.size(); ++i) {
    const Point p = polygon[i], q = polygon[(i + 1) % polygon.size()];
    if ((f(p) >= 0) != (f(q) >= 0)) ends.push_back(f.zero_between(p, q));
  }
  return ends;
}

struct Colors {
  std::string_view tint, line;
};

inline constexpr std::array<Colors, 4> expert_colors{
    {{"#fbeed0", "#9a7209"}, {"#dcebf7", "#2b6a9c"}, {"#e3f1dc", "#47803a"}, {"#f3e0ec", "#98437a"}}};
inline constexpr std::array<std::string_view, 4> vowel_colors{"#0a62a8", "#12a1b8", "#c43c1b", "#e58a00"};

/// A mixture of at most four experts, drawn over the data.
class Picture {
 public:
  Picture(const Mixture& mixture, const Data& data) : mixture_(mixture), data_(data) {}

  void draw(std::string_view title, std::string_view subtitle, const std::string& path) {
    example::chart::head(svg_, title, subtitle, {});
    for (moe::Index e = 0; e < mixture_.router.experts(); ++e)
      svg_.polygon(plot_(region(e)), fill(colors(e).tint) + " stroke=\"#ffffff\" stroke-width=\"3\"");
    for (moe::Index e = 0; e < mixture_.router.experts(); ++e) draw_line(e);
    draw_vowels(data_.train, true);
    draw_vowels(data_.test, false);
    for (moe::Index e = 0; e < mixture_.router.experts(); ++e) name_sides(e);
    plot_.draw_axes(svg_, {200, 500}, "first formant F1 (Hz)", "second formant F2 (Hz)");
    draw_legend();
    svg_.save(path);
  }

 private:
  static std::string fill(std::string_view color) { return "fill=\"" + std::string(color) + '"'; }
  static std::string stroke(std::string_view color) { return "stroke=\"" + std::string(color) + '"'; }
  static const Colors& colors(moe::Index e) { return expert_colors.at(static_cast<std::size_t>(e)); }

  std::vector<Point> frame() const {
    const Point a = plot_.lowest, b = plot_.highest;
    return {a, {b.x, a.y}, b, {a.x, b.y}};
  }

  /// Where the gate gives expert e the largest proportion: a convex polygon, since the gate's logits are affine.
  std::vector<Point> region(moe::Index e) const {
    const auto& gate = mixture_.router;
    std::vector<Point> polygon = frame();
    for (moe::Index other = 0; other < gate.experts(); ++other) {
      if (other == e) continue;
      const Vector w = (gate.weight_ED.row(e) - gate.weight_ED.row(other)) / 1000;
      polygon = cut(polygon, {w(0), w(1), gate.bias_E(e) - gate.bias_E(other)});
    }
    return polygon;
  }

  /// The vowel for which expert e's output is the largest where its unit's is 1 or 0.
  moe::Index answer(moe::Index e, double unit) const {
    const LineExpert& expert = mixture_.experts[static_cast<std::size_t>(e)];
    moe::Index kind = 0;
    (expert.class_bias_O + unit * expert.class_weight_O).maxCoeff(&kind);
    return kind;
  }

  /// 0 where expert e passes from one answer to the other, that is where both outputs are equal, about .5 each; nowhere
  /// 0 if it has one answer only.
  Affine line_of(moe::Index e) const {
    const LineExpert& expert = mixture_.experts[static_cast<std::size_t>(e)];
    const moe::Index high = answer(e, 1), low = answer(e, 0);
    if (high == low) return {0, 0, 1};
    const double unit = (expert.class_bias_O(low) - expert.class_bias_O(high)) /
                        (expert.class_weight_O(high) - expert.class_weight_O(low));
    return {expert.line_weight_D(0) / 1000, expert.line_weight_D(1) / 1000,
            expert.line_bias(0) - std::log(unit / (1 - unit))};
  }

  void draw_line(moe::Index e) {
    svg_.polyline(plot_(line_in(region(e), line_of(e))), stroke(colors(e).line) + R"( stroke-width="3")");
  }

  std::string_view answer_name(moe::Index e, double unit) const {
    return classes[static_cast<std::size_t>(answer(e, unit))].phonetic;
  }

  /// Writes on either side of expert e's line what the expert takes the vowels there for.
  void name_sides(moe::Index e) {
    const Affine f = line_of(e);
    const std::vector<Point> ends = plot_(line_in(region(e), f));
    if (ends.size() < 2) return;
    const Point origin = plot_(Point{0, 0}), one = plot_(Point{1, 1});
    const Point slope{f.a / (one.x - origin.x), f.b / (one.y - origin.y)};  // of f, in pixels
    const double length = std::hypot(slope.x, slope.y);
    const Point aside{26 * slope.x / length, 26 * slope.y / length};
    double best = -1;
    Point place{};
    for (double share = .08; share < .95; share += .02) {
      const Point p{ends[0].x + share * (ends[1].x - ends[0].x), ends[0].y + share * (ends[1].y - ends[0].y)};
      const double distance =
          (std::min)(distance_at({p.x + aside.x, p.y + aside.y}), distance_at({p.x - aside.x, p.y - aside.y}));
      if (distance > best) best = distance, place = p;
    }
    for (const double side : {1., -1.})
      svg_.text({place.x + side * aside.x, place.y + side * aside.y + 6}, answer_name(e, side > 0 ? 1 : 0),
                fill(colors(e).line) + R"( font-size="19" font-weight="bold" text-anchor="middle")"
                                       R"( stroke="#ffffff" stroke-width="4" paint-order="stroke")");
  }

  /// Distance in pixels to the nearest vowel or edge.
  double distance_at(Point p) const {
    double distance = (std::min)(
        {p.x - plot_.top_left.x, plot_.bottom_right.x - p.x, p.y - plot_.top_left.y, plot_.bottom_right.y - p.y});
    for (const Set* set : {&data_.train, &data_.test})
      for (moe::Index t = 0; t < set->formants_TD.rows(); ++t) {
        const Point vowel = place_of(*set, t);
        distance = (std::min)(distance, std::hypot(vowel.x - p.x, vowel.y - p.y));
      }
    return distance;
  }

  Point place_of(const Set& set, moe::Index t) const {
    return plot_(Point{1000 * set.formants_TD(t, 0), 1000 * set.formants_TD(t, 1)});
  }

  void draw_vowels(const Set& set, bool filled) {
    for (moe::Index t = 0; t < set.formants_TD.rows(); ++t)
      mark(place_of(set, t), set.kind[static_cast<std::size_t>(t)], filled);
  }

  void mark(Point at, moe::Index kind, bool filled) {
    const std::string_view color = vowel_colors.at(static_cast<std::size_t>(kind));
    const std::string style = filled ? fill(color) + R"( stroke="#ffffff" stroke-width="0.6")"
                                     : R"(fill="#ffffff" stroke-width="1.5" )" + stroke(color);
    if (kind == 0) svg_.circle(at, 4.2, style);
    if (kind == 1) svg_.rectangle({at.x - 3.8, at.y - 3.8}, {at.x + 3.8, at.y + 3.8}, style);
    if (kind == 2) svg_.polygon({{at.x, at.y - 5}, {at.x + 4.8, at.y + 3.6}, {at.x - 4.8, at.y + 3.6}}, style);
    if (kind == 3)
      svg_.polygon({{at.x, at.y - 5.4}, {at.x + 5.4, at.y}, {at.x, at.y + 5.4}, {at.x - 5.4, at.y}}, style);
  }

  void draw_legend() {
    const std::string words = R"(font-size="14" fill="#222222")", head = words + R"( font-weight="bold")",
                      notes = R"(font-size="12" fill="#555555")";
    double y = 104;
    svg_.text({x_, y}, "vowels", head);
    for (std::size_t kind = 0; kind < classes.size(); ++kind) {
      y += 25;
      mark({x_ + 8, y - 5}, static_cast<moe::Index>(kind), true);
      mark({x_ + 26, y - 5}, static_cast<moe::Index>(kind), false);
      svg_.text({x_ + 44, y}, std::string(classes[kind].phonetic) + " as in " + std::string(classes[kind].word), words);
    }
    svg_.text({x_, y += 25}, "filled: trained on, hollow: tested on", notes);
    svg_.text({x_, y += 46}, "experts", head);
    for (moe::Index e = 0; e < mixture_.router.experts(); ++e) {
      const bool leads = !region(e).empty();
      y += 27;
      svg_.rectangle({x_, y - 15}, {x_ + 34, y + 4}, fill(colors(e).tint));
      if (leads) svg_.line({x_, y - 5.5}, {x_ + 34, y - 5.5}, stroke(colors(e).line) + R"( stroke-width="3")");
      const std::string answers = std::string(answer_name(e, 1)) + " or " + std::string(answer_name(e, 0));
      svg_.text({x_ + 44, y}, std::to_string(e + 1) + (leads ? ": " + answers : ": leads nowhere"), words);
    }
    svg_.text({x_, y += 27}, "tint: where the gate gives the", notes);
    svg_.text({x_, y += 17}, "expert the largest proportion", notes);
    svg_.text({x_, y += 17}, "line: where its two outputs are .5", notes);
  }

  const Mixture& mixture_;
  const Data& data_;
  Svg svg_{1000, 704};
  Plot plot_{{86, 88}, {740, 640}, {150, 500}, {1350, 3750}};
  double x_ = 766;  // of the legend
};

}  // namespace vowels
