// What an operator may say about the log.
#ifndef LONGTAKE_SERVER_TELEMETRY_LOG_OPTIONS_H_
#define LONGTAKE_SERVER_TELEMETRY_LOG_OPTIONS_H_

namespace longtake::server {

enum class LogFormat {
  kText,  // 2026-11-29T07:30:14.123+00:00 level=info video accepted name=...
  kJson,  // {"time":"2026-11-29T07:30:14.123+00:00","level":"info","message":"video accepted","name":"..."}
};

// At which level finished calls are logged.
enum class CallLogLevel {
  kAuto,   // info; routine ones debug; those that failed by the server's fault warn
  kInfo,   // all as info
  kDebug,  // all as debug
  kOff,
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_TELEMETRY_LOG_OPTIONS_H_
