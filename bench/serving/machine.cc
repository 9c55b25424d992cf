#include "bench/serving/machine.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

namespace longtake::bench {
namespace {

constexpr double kRounding = 1e-9;  // seconds of work that count as done

}  // namespace

Machine::Machine(const PassTable* table, EventLoop* loop, int devices, Lanes lanes, int encoders, uint64_t seed)
    : table_(*table), loop_(loop), kind_(lanes), encoders_(encoders) {
  using scheduler::LaneRole;
  std::mt19937_64 random(seed);
  for (int device = 0; device < devices; ++device) {
    const std::vector<LaneRole> roles = lanes == Lanes::kOverlapping
                                            ? std::vector{LaneRole::kTransformer, LaneRole::kDecoder}
                                            : std::vector{LaneRole::kAll};
    for (LaneRole role : roles) {
      lane_infos_.push_back({.device = scheduler::DeviceId{device}, .role = role});
      Lane& lane = lanes_.emplace_back();
      lane.device = device;
      lane.streams.resize(lanes == Lanes::kBarrier ? 2 : 1);
      noise_at_.push_back(random() % table_.noise.size());
    }
  }
}

void Machine::SetJob(size_t session, double scale, std::vector<int> blocks, int made) {
  const int decoded = std::accumulate(blocks.begin(), blocks.begin() + made, 0);
  jobs_[session] = {.scale = scale, .blocks = std::move(blocks), .committed = made, .decoded = decoded};
}

double Machine::Noise(scheduler::LaneId lane) {
  size_t& at = noise_at_[Index(lane)];
  at = (at + 1) % table_.noise.size();
  return table_.noise[at];
}

// Prompts and decodes run one after the other and end one by one; denoising and commits share one piece.
void Machine::Submit(scheduler::LaneId lane_id, std::vector<scheduler::Pass> passes, PassDone done) {
  Advance();
  const double noise = Noise(lane_id);
  Batch batch{.done = std::make_shared<PassDone>(std::move(done))};
  Piece shared;
  double latents = 0;
  for (size_t i = 0; i < passes.size(); ++i) {
    Job& job = jobs_.at(Number(passes[i].session));
    switch (passes[i].kind) {
      case PassKind::kEncodePrompt:
        batch.transformer.push_back({.left = table_.text * noise, .passes = {i}});
        break;
      case PassKind::kDenoise:
      case PassKind::kCommit:
        latents += job.scale * job.blocks[job.committed];
        shared.passes.push_back(i);
        job.committed += passes[i].kind == PassKind::kCommit;
        break;
      case PassKind::kDecode: {
        // A causal VAE makes one frame of the video's first latent frame.
        const double share = job.decoded++ == 0 ? 1.0 / table_.frames_per_latent : 1;
        batch.decoder.push_back({.left = job.scale * share * table_.decode * noise, .passes = {i}});
        break;
      }
      case PassKind::kSave:
      case PassKind::kRestore:
        break;  // are not planned
    }
  }
  if (!shared.passes.empty()) {
    shared.left = table_.TransformerSeconds(latents) * noise;
    batch.transformer.push_back(std::move(shared));
  }
  ++batches_;
  passes_ += passes.size();
  Lane& lane = lanes_[Index(lane_id)];
  lane.waiting.push_back(std::move(batch));
  if (lane.done == nullptr) Begin(lane);
  Reschedule();
}

void Machine::Begin(Lane& lane) {
  if (lane.waiting.empty()) return;
  Batch batch = std::move(lane.waiting.front());
  lane.waiting.pop_front();
  lane.done = std::move(batch.done);
  Stream& second = lane.streams.back();
  Stream& first = lane.streams.front();
  first.pieces = std::move(batch.decoder);
  second.pieces.insert(second.pieces.end(), batch.transformer.begin(), batch.transformer.end());
  for (Stream& stream : lane.streams) {
    if (!stream.pieces.empty()) stream.pieces.front().began = loop_->now();
  }
}

void Machine::Encode(size_t session, double seconds, std::function<void()> done) {
  Advance();
  std::deque<Encoding>& encodings = encodings_[session];
  encodings.push_back({seconds, std::move(done)});
  const bool under_way =
      std::any_of(encoders_.begin(), encoders_.end(), [&](const Encoder& e) { return e.busy && e.session == session; });
  if (encodings.size() == 1 && !under_way) turn_.push_back(session);
  BeginEncoding();
  Reschedule();
}

// One latent frame, then the session goes to the end of the queue: as the server's strands do.
void Machine::BeginEncoding() {
  for (Encoder& encoder : encoders_) {
    if (turn_.empty()) return;
    if (encoder.busy) continue;
    const size_t session = turn_.front();
    turn_.pop_front();
    const auto encodings = encodings_.find(session);
    Encoding next = std::move(encodings->second.front());
    encodings->second.pop_front();
    if (encodings->second.empty()) encodings_.erase(encodings);
    encoder = {true, session, next.work, std::move(next.done)};
  }
}

double Machine::busy_seconds() const {
  double most = 0;
  for (const Lane& lane : lanes_) {
    for (const Stream& stream : lane.streams) most = std::max(most, stream.busy);
  }
  return most;
}

void Machine::Advance() {
  const double elapsed = loop_->now() - last_;
  last_ = loop_->now();
  if (elapsed <= 0) return;
  const auto encoding = std::count_if(encoders_.begin(), encoders_.end(), [](const Encoder& e) { return e.busy; });
  bool engine_works = false;
  for (Lane& lane : lanes_) {
    for (Stream& stream : lane.streams) {
      if (stream.pieces.empty()) continue;
      engine_works = true;
      stream.pieces.front().left -= elapsed * SpeedOf(lane, encoding);
      stream.busy += elapsed;
    }
  }
  for (Encoder& encoder : encoders_) {
    if (encoder.busy) encoder.left -= elapsed * (engine_works ? table_.encoder_speed : 1);
  }
  // As many encoders as cores.
  used_ += elapsed *
           (engine_works ? 1 : static_cast<double>(encoding) / std::max(1.0, static_cast<double>(encoders_.size())));
}

double Machine::SpeedOf(const Lane& lane, int64_t encoding) const {
  int streams = 0;  // of the device, at work
  for (const Lane& other : lanes_) {
    if (other.device != lane.device) continue;
    for (const Stream& stream : other.streams) streams += stream.pieces.empty() ? 0 : 1;
  }
  const size_t last = table_.engine_speed.size() - 1;
  return table_.engine_speed[std::min<size_t>(encoding, last)] * (streams > 1 ? table_.overlap_speed : 1);
}

void Machine::Reschedule() {
  if (ending_) return;  // at its end
  const auto encoding = std::count_if(encoders_.begin(), encoders_.end(), [](const Encoder& e) { return e.busy; });
  double next = std::numeric_limits<double>::infinity();
  bool engine_works = false;
  for (const Lane& lane : lanes_) {
    for (const Stream& stream : lane.streams) {
      if (stream.pieces.empty()) continue;
      engine_works = true;
      next = std::min(next, stream.pieces.front().left / SpeedOf(lane, encoding));
    }
  }
  for (const Encoder& encoder : encoders_) {
    if (encoder.busy) next = std::min(next, encoder.left / (engine_works ? table_.encoder_speed : 1));
  }
  ++asked_;
  if (next == std::numeric_limits<double>::infinity()) return;
  loop_->At(loop_->now() + std::max(0.0, next), [this, asked = asked_] {
    if (asked == asked_) EndDue();
  });
}

void Machine::EndDue() {
  Advance();
  ending_ = true;
  for (Lane& lane : lanes_) {
    for (Stream& stream : lane.streams) {
      while (!stream.pieces.empty() && stream.pieces.front().left <= kRounding) {
        const Piece piece = std::move(stream.pieces.front());
        stream.pieces.pop_front();
        if (!stream.pieces.empty()) stream.pieces.front().began = loop_->now();
        const double share = (loop_->now() - piece.began) / static_cast<double>(piece.passes.size());
        for (size_t pass : piece.passes) (*lane.done)(pass, {absl::OkStatus(), share});
      }
    }
    const bool ended = std::all_of(lane.streams.begin(), lane.streams.end(),
                                   [](const Stream& stream) { return stream.pieces.empty(); });
    if (lane.done != nullptr && ended) {
      lane.done = nullptr;
      Begin(lane);
    }
  }
  for (Encoder& encoder : encoders_) {
    if (!encoder.busy || encoder.left > kRounding) continue;
    encoder.busy = false;
    const std::function<void()> done = std::move(encoder.done);
    if (encodings_.contains(encoder.session)) turn_.push_back(encoder.session);
    done();
  }
  BeginEncoding();
  ending_ = false;
  Reschedule();
}

}  // namespace longtake::bench
