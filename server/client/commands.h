// The client's commands. Each returns the process's exit status: 0, 1 for an error that was told on stderr, 130
// interrupted.
#ifndef LONGTAKE_SERVER_CLIENT_COMMANDS_H_
#define LONGTAKE_SERVER_CLIENT_COMMANDS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "server/client/load/visits.h"

namespace longtake::client {

struct GenerateFlags {
  std::string server = "127.0.0.1:50051";
  std::string prompt, negative_prompt;
  double seconds = 5;
  std::string output;
  std::optional<uint64_t> seed;
  std::string size;         // "WxH"; empty: the model's default
  std::string first_image;  // file
  bool offline = false, json = false, quiet = false;
};

// Makes a video and writes each chunk to the file when it arrives: the file can be played while it grows. What arrived
// stays there when the call fails.
int Generate(const GenerateFlags& flags);

struct ModelsFlags {
  std::string server = "127.0.0.1:50051";
  double wait_seconds = 0;  // for a server that is starting or loading
  bool json = false;
};

int Models(const ModelsFlags& flags);

struct LoadtestFlags {
  std::string server = "127.0.0.1:50051";
  Mix mix;
  int viewers = 0;  // at the same time; or
  double rate = 0;  // arrivals a second
  double duration = 60, warm = 0;
  uint64_t seed = 1;
  std::string json;  // file for everything measured
  bool quiet = false;
};

// Simulated viewers; prints what they saw as a table.
int Loadtest(const LoadtestFlags& flags);

}  // namespace longtake::client

#endif  // LONGTAKE_SERVER_CLIENT_COMMANDS_H_
