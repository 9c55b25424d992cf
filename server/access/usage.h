// What a tenant has of what quotas limit. No lock of its own.
#ifndef LONGTAKE_SERVER_ACCESS_USAGE_H_
#define LONGTAKE_SERVER_ACCESS_USAGE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace longtake::server {

// A bucket of tokens, a call each: it holds as many as flow in within a second, at least one, so that a client that
// starts with several calls at once is not refused.
class CallBucket {
 public:
  // Takes a token. Nothing: there was one; else the time until there is.
  std::optional<absl::Duration> Take(absl::Duration now, double a_second);
  // Takes the tokens of calls that other servers have let in, also those that are not there: then nobody gets one until
  // they have flowed in.
  void TakeForOthers(int64_t calls) { tokens_ -= static_cast<double>(calls); }
  // Nothing was taken for so long that it is full at any rate.
  bool Full(absl::Duration now) const { return now - filled_ >= absl::Hours(1); }

 private:
  double tokens_ = 0;
  absl::Duration filled_ = -absl::InfiniteDuration();
};

// Device seconds of the last 24 hours, in slots of an hour: what was used in an hour counts until the same hour a day
// later. A calendar's day would let everybody in at midnight. Times are since 1970, so that all servers mean the same
// hours.
class UsedToday {
 public:
  static int64_t HourOf(absl::Duration now) { return absl::ToInt64Hours(now); }

  void Add(absl::Duration now, double seconds);
  double Sum(absl::Duration now) const;
  // Until the sum is below the limit, if nothing is added; infinite where no time makes it so.
  absl::Duration UntilBelow(absl::Duration now, double limit) const;
  // The hours that count now in which anything was used, and how much.
  std::vector<std::pair<int64_t, double>> Hours(absl::Duration now) const;

 private:
  static constexpr int kHours = 24;
  double At(int64_t hour) const { return hours_[(hour + kHours) % kHours]; }

  std::array<double, kHours> hours_ = {};  // by hour modulo 24
  int64_t hour_ = 0;                       // the newest
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_ACCESS_USAGE_H_
