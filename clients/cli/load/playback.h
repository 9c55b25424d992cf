// What a viewer sees of chunks that arrive: the picture starts with the first one and stands still where one is late.
#ifndef LONGTAKE_CLIENTS_CLI_LOAD_PLAYBACK_H_
#define LONGTAKE_CLIENTS_CLI_LOAD_PLAYBACK_H_

namespace longtake::client {

// Seconds throughout, on any one clock.
class Playback {
 public:
  // A whole chunk of `seconds` of video is there at `at`. Returns whether the picture stood still for it.
  bool Arrived(double at, double seconds);
  // The viewer goes at `at` before the video's end: counts a picture that stands still by then.
  void Cut(double at);

  bool started() const { return started_; }
  double first() const { return first_; }                  // when the first chunk was there
  double video_seconds() const { return video_seconds_; }  // that arrived
  int stalls() const { return stalls_; }
  double stall_seconds() const { return late_; }
  // When all that has arrived is played.
  double ends() const { return first_ + late_ + video_seconds_; }

 private:
  bool started_ = false;
  double first_ = 0;
  double video_seconds_ = 0;
  double late_ = 0;
  int stalls_ = 0;
};

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_LOAD_PLAYBACK_H_
