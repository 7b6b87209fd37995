#include "fixture.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>

#include "moe/io/safetensors.hpp"

namespace golden {
namespace {

/// max |a - b| / max(1, max |b|), b the reference; infinite if a has an entry that is no number.
double error(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, scale = 1;
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (!std::isfinite(a[i])) return HUGE_VAL;
    difference = (std::max)(difference, std::abs(a[i] - b[i]));
    scale = (std::max)(scale, std::abs(b[i]));
  }
  return difference / scale;
}

std::string format(double error) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2e", error);
  return text;
}

/// The worst error of every fixture, printed when all tests have run.
class Report : public ::testing::Environment {
 public:
  struct Worst {
    double error = 0;
    std::string tensor = "-";
    int compared = 0;
  };
  std::map<std::string, Worst> worst_of;

  void add(const std::string& fixture, const std::string& tensor, double error) {
    Worst& worst = worst_of[fixture];
    ++worst.compared;
    if (error >= worst.error) worst.error = error, worst.tensor = tensor;
  }

  void TearDown() override {
    std::printf("%-32s %8s %10s  %s\n", "fixture", "compared", "worst", "in");
    for (const auto& [fixture, worst] : worst_of)
      std::printf("%-32s %8d %10s  %s\n", fixture.c_str(), worst.compared, format(worst.error).c_str(),
                  worst.tensor.c_str());
  }
};

Report* const report = static_cast<Report*>(::testing::AddGlobalTestEnvironment(new Report));

}  // namespace

struct Fixture::Content {
  moe::io::Safetensors file;
  nlohmann::json settings;

  explicit Content(const std::string& name)
      : file(moe::io::Safetensors::open(std::string(MOE_SOURCE_DIR) + "/tests/golden/data/" + name + ".safetensors")),
        settings(nlohmann::json::parse(file.metadata().at("hyper"))) {}
};

Fixture::Fixture(const std::string& name) : name_(name), content_(std::make_shared<const Content>(name)) {
  for (const std::string& tensor : content_->file.names()) left_.insert(tensor);
}

double Fixture::number(const std::string& setting) const { return content_->settings.at(setting).get<double>(); }
bool Fixture::flag(const std::string& setting) const { return content_->settings.at(setting).get<bool>(); }
std::string Fixture::text(const std::string& setting) const {
  return content_->settings.at(setting).get<std::string>();
}
Index Fixture::size(const std::string& setting) const { return content_->settings.at(setting).get<Index>(); }

bool Fixture::contains(const std::string& tensor) const { return content_->file.contains(tensor); }

void Fixture::expect(const std::string& tensor, const std::vector<double>& computed) {
  using moe::io::DType;
  const DType type = content_->file.tensor(tensor).dtype;
  const bool floating = type == DType::F64 || type == DType::F32;
  const auto reference = values<double>(tensor);
  ASSERT_EQ(computed.size(), reference.size()) << name_ << ": " << tensor;
  if (!floating) {
    EXPECT_EQ(computed, reference) << name_ << ": " << tensor;
    return;
  }
  const double difference = error(computed, reference);
  EXPECT_LE(difference, type == DType::F64 ? 1e-10 : 2e-5) << name_ << ": " << tensor;
  report->add(name_, tensor, difference);
}

void Fixture::expect(const Values& computed) {
  for (const auto& [tensor, values] : computed)
    if (contains(tensor)) expect(tensor, values);
}

std::set<std::string> Fixture::left_but(const std::set<std::string>& names) const {
  std::set<std::string> left{"slot"};
  for (const std::string& name : names)
    if (contains(name)) left.insert(name);
  return left;
}

void Fixture::finish(const std::set<std::string>& without_counterpart) const {
  EXPECT_EQ(left_, without_counterpart) << name_;
  ::testing::Test::RecordProperty("worst_error_of_" + name_, format(report->worst_of[name_].error));
}

template <class S>
std::pair<std::vector<std::uint64_t>, std::vector<S>> Fixture::part(const std::string& tensor,
                                                                    std::vector<std::uint64_t> at) {
  left_.erase(tensor);
  if (step) at.insert(at.begin(), *step);
  auto shape = content_->file.tensor(tensor).shape;
  auto values = content_->file.values<S>(tensor);
  for (const std::uint64_t index : at) {
    moe::require(!shape.empty() && index < shape[0], name_, ": ", tensor, " has no part ", index);
    shape.erase(shape.begin());
    const std::size_t count =
        std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<std::size_t>());
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(index * count);
    values = std::vector<S>(begin, begin + static_cast<std::ptrdiff_t>(count));
  }
  return {shape, values};
}

template <class S>
using Part = std::pair<std::vector<std::uint64_t>, std::vector<S>>;
template Part<float> Fixture::part<float>(const std::string&, std::vector<std::uint64_t>);
template Part<double> Fixture::part<double>(const std::string&, std::vector<std::uint64_t>);
template Part<std::uint8_t> Fixture::part<std::uint8_t>(const std::string&, std::vector<std::uint64_t>);
template Part<std::int64_t> Fixture::part<std::int64_t>(const std::string&, std::vector<std::uint64_t>);

}  // namespace golden
