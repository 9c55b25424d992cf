// Durations of the API in seconds.
#ifndef LONGTAKE_TESTS_SERVER_PROTO_TIME_H_
#define LONGTAKE_TESTS_SERVER_PROTO_TIME_H_

#include <cmath>
#include <cstdint>

#include "google/protobuf/duration.pb.h"

namespace longtake::server {

inline double Seconds(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + duration.nanos() * 1e-9;
}

inline google::protobuf::Duration ToProto(double seconds) {
  google::protobuf::Duration duration;
  duration.set_seconds(static_cast<int64_t>(seconds));
  duration.set_nanos(static_cast<int32_t>(std::lround((seconds - std::trunc(seconds)) * 1e9)));
  return duration;
}

}  // namespace longtake::server

#endif  // LONGTAKE_TESTS_SERVER_PROTO_TIME_H_
