// What happened during one call, and when: from its events and their arrival.
#ifndef LONGTAKE_CLIENTS_CLI_STORY_H_
#define LONGTAKE_CLIENTS_CLI_STORY_H_

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "longtake/v1/events.pb.h"

namespace longtake::client {

// All times are seconds since the request was sent, by the client's clock, except those of the server's messages, which
// count from the request's arrival there. A server time is early by the time that the request travelled, never late, so
// comparing an arrival with a later server time is on the safe side.
class Story {
 public:
  void Hear(const v1::WatchVideoResponse& event, double now);

  const v1::Video& video() const { return accepted_.video(); }  // as it was accepted
  const v1::Quote& quote() const { return accepted_.quote(); }
  const v1::Progress& progress() const { return progress_; }
  bool began() const { return began_; }  // a pass is done
  int waiting_position() const { return waiting_position_; }
  bool finished() const { return finished_.has_value(); }
  double seconds_of_video() const { return seconds_of_video_; }  // arrived
  double first_chunk_seconds() const { return chunks_.empty() ? 0 : chunks_.front().arrived; }

  // Whether chunks came when they should, and everything measured, for `--json`.
  //   before_first_block_seconds  until the first block's first pass: waiting, and encoding the text
  //   mean_block_seconds          from then until the last chunk was ready, divided by the number of blocks
  //   first_chunk_limit_seconds   before_first_block + 1.5 x mean_block
  //   chunks_before_next_denoised blocks whose last chunk arrived before the next block's denoising ended
  //   chunks_with_next            blocks but the last
  nlohmann::json Summary(double now) const;

 private:
  struct ArrivedChunk {
    v1::Chunk last_part;  // without its bytes
    int parts = 0;
    int64_t bytes = 0;
    double arrived = 0;  // its last part
  };

  v1::Accepted accepted_;
  v1::Progress progress_;
  bool began_ = false;
  int waiting_position_ = 0;
  double seconds_of_video_ = 0;
  int64_t bytes_ = 0;
  int parts_ = 0;
  int64_t part_bytes_ = 0;
  std::vector<ArrivedChunk> chunks_;
  std::vector<v1::PromptChanged> changes_;
  std::optional<v1::Finished> finished_;
};

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_STORY_H_
