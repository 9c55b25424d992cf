#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "server/media/media.h"

namespace longtake::media {
namespace {

// How far a decimal number may be from the rate that it stands for: 23.976 is 1e-6 away from 24000/1001, and the
// nearest rate of another meaning, 24, is 1e-3 away.
constexpr double kRelativeError = 1e-5;

bool IsNear(double value, double whole) { return std::abs(value - whole) <= kRelativeError * whole; }

FrameRate Reduced(int32_t numerator, int32_t denominator) {
  const int32_t divisor = std::gcd(numerator, denominator);
  return {.numerator = numerator / divisor, .denominator = denominator / divisor};
}

}  // namespace

absl::Duration FrameRate::TimeOf(int64_t frames) const { return absl::Seconds(frames * denominator) / numerator; }

absl::StatusOr<FrameRate> FrameRateFrom(double frames_per_second) {
  // Written so that NaN is refused, too.
  if (!(frames_per_second >= 0.001 && frames_per_second <= 1000)) {
    return absl::InvalidArgumentError(
        absl::StrCat("frames per second: ", frames_per_second, " is not within 0.001 ... 1000"));
  }
  const double whole = std::round(frames_per_second);
  if (IsNear(frames_per_second, whole)) return Reduced(static_cast<int32_t>(whole), 1);
  const double television = std::round(frames_per_second * 1.001);
  if (IsNear(frames_per_second * 1.001, television)) return Reduced(static_cast<int32_t>(television) * 1000, 1001);
  return Reduced(static_cast<int32_t>(std::round(frames_per_second * 1000)), 1000);
}

}  // namespace longtake::media
