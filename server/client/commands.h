// The client's commands. Each returns the process's exit status: 0, 1 for an error that was told on stderr, 130
// interrupted.
#ifndef LONGTAKE_SERVER_CLIENT_COMMANDS_H_
#define LONGTAKE_SERVER_CLIENT_COMMANDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/client/load/visits.h"

namespace longtake::client {

struct GenerateFlags {
  std::string server = "127.0.0.1:50051";
  std::string prompt, negative_prompt;
  double seconds = 5;
  std::string output;
  std::optional<int64_t> seed;    // below 0: the server chooses
  std::string size;               // "WxH"; empty: the model's default
  std::string first_image;        // file
  std::vector<std::string> then;  // "SECONDS:PROMPT"
  int priority = 0;
  std::optional<double> max_wait, max_lead;  // seconds
  bool adaptive = false;                     // fewer steps rather than late chunks
  bool offline = false, json = false, quiet = false;
};

// Makes a video and writes each chunk to the file when it arrives: the file can be played while it grows. What arrived
// stays there when the call fails.
int Generate(const GenerateFlags& flags);

// What Generate would be promised now.
int Quote(const GenerateFlags& flags);

struct PromptFlags {
  std::string server = "127.0.0.1:50051";
  std::string video, prompt;  // "videos/...", or without its first part
  double at = 0;              // seconds of the video; 0: the next block
};

// Changes the prompt of a video that is being made.
int ChangePrompt(const PromptFlags& flags);

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
