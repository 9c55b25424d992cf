// When an output in bfloat16 is as near to float32 as it has to be. CONTRIBUTING.md, "Numerics", gives the reasons for
// the numbers; tools/parity.py has the same rule.
#ifndef LONGTAKE_TESTS_PARITY_RULE_H_
#define LONGTAKE_TESTS_PARITY_RULE_H_

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace longtake {

// Of a difference: its root mean square and its largest element, each divided by the same of what is expected.
struct RelativeErrors {
  double rms = 0, max = 0;
};

// Infinite where a value is not finite. Both have the same length.
inline RelativeErrors ErrorsOf(const std::vector<float>& actual, const std::vector<float>& expected) {
  double squares = 0, expected_squares = 0, largest = 0, expected_largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!std::isfinite(actual[i])) return {INFINITY, INFINITY};
    const double difference = double{actual[i]} - double{expected[i]};
    squares += difference * difference;
    expected_squares += double{expected[i]} * double{expected[i]};
    largest = std::max(largest, std::abs(difference));
    expected_largest = std::max(expected_largest, std::abs(double{expected[i]}));
  }
  if (expected_largest == 0) return {std::sqrt(squares), largest};
  return {std::sqrt(squares / expected_squares), largest / expected_largest};
}

// Of an output's largest error, in units of torch's.
inline constexpr double kLargestMaxRatio = 2.5;

// How large the geometric mean of `outputs` ratios of root mean square errors to torch's may be.
inline double LargestMeanRatio(size_t outputs) { return 0.65 * std::exp(1 / std::sqrt(static_cast<double>(outputs))); }

// The ratios of many outputs, by group.
class Bfloat16Ratios {
 public:
  // `torch`: the output's entry in torch_bfloat16_error. Says what breaks the rule; empty where nothing does.
  std::string Add(const std::string& group, const RelativeErrors& errors, const nlohmann::json& torch) {
    const double ratio = errors.rms / torch["rms"].get<double>(), largest = errors.max / torch["max"].get<double>();
    for (const std::string& to : {group, std::string("all")}) {
      sums_[to].logs += std::log(ratio);
      ++sums_[to].outputs;
    }
    if (ratio > LargestMeanRatio(1)) return "error " + std::to_string(ratio) + " times torch's";
    if (largest > kLargestMaxRatio) return "largest error " + std::to_string(largest) + " times torch's";
    return "";
  }

  // The groups whose mean is too large, with the mean.
  std::map<std::string, double> FaultyGroups() const {
    std::map<std::string, double> faulty;
    for (const auto& [group, sum] : sums_) {
      const double mean = std::exp(sum.logs / static_cast<double>(sum.outputs));
      if (mean > LargestMeanRatio(sum.outputs)) faulty[group] = mean;
    }
    return faulty;
  }

 private:
  struct Sum {
    double logs = 0;
    size_t outputs = 0;
  };
  std::map<std::string, Sum> sums_;
};

}  // namespace longtake

#endif  // LONGTAKE_TESTS_PARITY_RULE_H_
