#include "server/image/resample.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace longtake::server {
namespace {

constexpr int kWeightBits = 22;

double Cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// What one element of the result is made of.
struct Taps {
  int first = 0;
  std::vector<int64_t> weights;
};

// `count` elements from those within `begin` ... `begin + length` of `size`.
std::vector<Taps> TapsOf(int size, double begin, double length, int count) {
  const double scale = length / count, stretch = std::max(scale, 1.0), support = 2.0 * stretch;
  std::vector<Taps> all(count);
  for (int i = 0; i < count; ++i) {
    const double center = begin + (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(std::floor(center - support + 0.5)));
    const int last = std::min(size, static_cast<int>(std::floor(center + support + 0.5)));
    std::vector<double> weights;
    double sum = 0;
    for (int x = first; x < last; ++x) {
      weights.push_back(Cubic((x - center + 0.5) / stretch));
      sum += weights.back();
    }
    all[i].first = first;
    for (const double weight : weights) all[i].weights.push_back(std::llround(weight / sum * (1 << kWeightBits)));
  }
  return all;
}

uint8_t Rounded(int64_t sum) {
  return static_cast<uint8_t>(std::clamp<int64_t>((sum + (int64_t{1} << (kWeightBits - 1))) >> kWeightBits, 0, 255));
}

}  // namespace

Picture CoverAndCrop(const Picture& picture, int width, int height) {
  // The part of the picture that has the result's shape.
  const double scale =
      std::min(static_cast<double>(picture.width) / width, static_cast<double>(picture.height) / height);
  const double part_width = scale * width, part_height = scale * height;
  const std::vector<Taps> columns = TapsOf(picture.width, (picture.width - part_width) / 2, part_width, width);
  const std::vector<Taps> rows = TapsOf(picture.height, (picture.height - part_height) / 2, part_height, height);

  // Columns first, for the rows that are needed.
  const int first = rows.front().first;
  const int last = rows.back().first + static_cast<int>(rows.back().weights.size());
  std::vector<uint8_t> narrow(static_cast<size_t>(last - first) * width * 3);
  for (int y = first; y < last; ++y) {
    const uint8_t* from = &picture.rgb[static_cast<size_t>(y) * picture.width * 3];
    uint8_t* to = &narrow[static_cast<size_t>(y - first) * width * 3];
    for (int x = 0; x < width; ++x) {
      int64_t sum[3] = {};
      const Taps& taps = columns[x];
      for (size_t i = 0; i < taps.weights.size(); ++i) {
        for (size_t c = 0; c < 3; ++c) sum[c] += taps.weights[i] * from[(taps.first + i) * 3 + c];
      }
      for (int c = 0; c < 3; ++c) to[3 * x + c] = Rounded(sum[c]);
    }
  }
  Picture out{.width = width, .height = height};
  out.rgb.resize(static_cast<size_t>(width) * height * 3);
  const size_t stride = static_cast<size_t>(width) * 3;
  std::vector<int64_t> sums(stride);
  for (int y = 0; y < height; ++y) {
    const Taps& taps = rows[y];
    std::fill(sums.begin(), sums.end(), 0);
    for (size_t i = 0; i < taps.weights.size(); ++i) {
      const uint8_t* from = &narrow[(taps.first - first + i) * stride];
      for (size_t x = 0; x < stride; ++x) sums[x] += taps.weights[i] * from[x];
    }
    for (size_t x = 0; x < stride; ++x) out.rgb[y * stride + x] = Rounded(sums[x]);
  }
  return out;
}

Picture Oriented(const Picture& stored, int orientation) {
  const bool turned = orientation > 4;
  // Of the rows and columns as stored: 2, 3, 6 and 7 mirror the columns or the rows that become columns.
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Picture out{.width = turned ? stored.height : stored.width, .height = turned ? stored.width : stored.height};
  out.rgb.reserve(stored.rgb.size());
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      int column = turned ? y : x, row = turned ? x : y;
      if (from_right) column = stored.width - 1 - column;
      if (from_bottom) row = stored.height - 1 - row;
      const uint8_t* from = &stored.rgb[(static_cast<size_t>(row) * stored.width + column) * 3];
      out.rgb.insert(out.rgb.end(), from, from + 3);
    }
  }
  return out;
}

}  // namespace longtake::server
