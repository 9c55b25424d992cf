// Who comes, and wants what: made from a seed before anything is asked, so that a test can be repeated.
#ifndef LONGTAKE_CLIENTS_CLI_LOAD_VISITS_H_
#define LONGTAKE_CLIENTS_CLI_LOAD_VISITS_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace longtake::client {

// The crowd that visits are drawn from. Shares lie in 0 ... 1.
struct Mix {
  double shortest = 5, longest = 60;  // seconds of video, log-uniform between them
  double offline = 0;                 // share that does not watch
  double impatient = 0;               // share of the live ones that leave without a first chunk after `patience`
  double patience = 4;                // seconds; the others have kPatience
  double slow = 0;                    // share of the live ones that take half of a chunk's duration to read it
  std::vector<std::string> sizes;     // "WxH", drawn evenly; empty: the model's default
};

constexpr double kPatience = 60;   // seconds that a patient viewer waits for the first chunk
constexpr double kSlowRead = 0.5;  // of a chunk's duration

struct Visit {
  double arrives = 0;  // seconds since the test's beginning
  double seconds = 0;  // of video
  std::string size;    // as in Mix
  std::string prompt;
  uint64_t seed = 0;
  bool offline = false;
  bool slow = false;
  double patience = kPatience;
};

// Mean length of the mix's videos, in seconds.
double MeanSeconds(const Mix& mix);

// An endless row of visits. Equal seeds give equal rows.
class Crowd {
 public:
  Crowd(const Mix& mix, uint64_t seed) : mix_(mix), random_(seed) {}
  Visit Next();                   // `arrives` is 0
  double NextPause(double rate);  // seconds to the next arrival of a Poisson process of `rate` a second
 private:
  double Uniform();  // [0, 1); the library's distributions differ between implementations, this does not
  Mix mix_;
  std::mt19937_64 random_;
};

// Arrivals in [0, duration) that do not wait for answers: a Poisson process of `rate` a second.
std::vector<Visit> PoissonVisits(const Mix& mix, double rate, double duration, uint64_t seed);

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_LOAD_VISITS_H_
