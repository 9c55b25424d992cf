// Durations of the API in seconds.
#ifndef LONGTAKE_CLIENTS_CLI_PROTO_TIME_H_
#define LONGTAKE_CLIENTS_CLI_PROTO_TIME_H_

#include <cmath>
#include <cstdint>

#include "google/protobuf/duration.pb.h"
#include "longtake/v1/resources.pb.h"

namespace longtake::client {

inline double Seconds(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + duration.nanos() * 1e-9;
}

inline google::protobuf::Duration ToProto(double seconds) {
  google::protobuf::Duration duration;
  duration.set_seconds(static_cast<int64_t>(seconds));
  duration.set_nanos(static_cast<int32_t>(std::lround((seconds - std::trunc(seconds)) * 1e9)));
  return duration;
}

inline double FramesPerSecond(const v1::FrameRate& rate) {
  return rate.denominator() == 0 ? 0 : static_cast<double>(rate.numerator()) / rate.denominator();
}

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_PROTO_TIME_H_
