// The client's commands. Each returns the process's exit status: 0, 1 for an error that was told on stderr, 130
// interrupted.
#ifndef LONGTAKE_CLIENTS_CLI_COMMANDS_H_
#define LONGTAKE_CLIENTS_CLI_COMMANDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clients/cli/connect.h"
#include "clients/cli/load/visits.h"

namespace longtake::client {

// Of a video that is received.
struct OutputFlags {
  std::string output;  // file; "-": standard output
  bool json = false, quiet = false;
};

struct GenerateFlags {
  Target server;
  std::string prompt, negative_prompt;
  double seconds = 5;
  OutputFlags output;
  std::optional<int64_t> seed;        // below 0: the server chooses
  std::string size;                   // "WxH"; empty: the model's default
  std::string first_image;            // file
  std::vector<std::string> then;      // "SECONDS:PROMPT"
  std::vector<std::string> adapters;  // "NAME" or "NAME=STRENGTH"
  std::string decoder = "full";       // or "tiny"
  int priority = 0;
  std::optional<double> max_wait, max_lead;  // seconds
  bool adaptive = false;                     // fewer steps or the tiny decoder rather than late chunks
  bool offline = false;
  bool keep = false;  // the video is made to its end whether or not this call lives
};

// Makes a video and writes each chunk to the file when it arrives: the file can be played while it grows. What arrived
// stays there when the call fails.
int Generate(const GenerateFlags& flags);

// What Generate would be promised now. Of `output` only `json` matters.
int Quote(const GenerateFlags& flags);

struct WatchFlags {
  Target server;
  std::string video;  // "videos/...", or without its first part
  OutputFlags output;
  int from_block = 0;
  bool live = false;       // from the newest block on
  bool no_follow = false;  // end with what is there now
};

// Writes a video, or the rest of one, to the file while it arrives.
int Watch(const WatchFlags& flags);

struct ForkFlags {
  GenerateFlags request;          // of the new video: its prompt, changes, delivery and output
  std::string video;              // as WatchFlags::video
  int from_block = 0;             // the first that differs
  std::optional<double> seconds;  // the new video's length; without it the other one's
};

// Makes a video that is another one up to a block, and writes it as Generate does.
int Fork(const ForkFlags& flags);

struct VideosFlags {
  Target server;
  bool json = false;
};

// One line for each video, the newest first.
int List(const VideosFlags& flags);

struct VideoFlags {
  Target server;
  std::string video;  // as WatchFlags::video
  bool json = false;
};

// Each prints the video as it stands, but Delete, which prints nothing.
int Get(const VideoFlags& flags);
int Cancel(const VideoFlags& flags);
int Delete(const VideoFlags& flags);

struct LinkFlags {
  Target server;
  std::string video;     // as WatchFlags::video
  std::string duration;  // as absl::ParseDuration has it; empty: the server chooses
  std::string base_url;  // of the HTTP port; empty: addresses are printed without it
  bool json = false;
};

// Prints where anybody may watch a video until then.
int Link(const LinkFlags& flags);

struct PromptFlags {
  Target server;
  std::string video, prompt;  // "videos/...", or without its first part
  double at = 0;              // seconds of the video; 0: the next block
};

// Changes the prompt of a video that is being made.
int ChangePrompt(const PromptFlags& flags);

struct ModelsFlags {
  Target server;
  double wait_seconds = 0;  // for a server that is starting or loading
  bool json = false;
};

int Models(const ModelsFlags& flags);

struct LoadtestFlags {
  Target server;
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

#endif  // LONGTAKE_CLIENTS_CLI_COMMANDS_H_
