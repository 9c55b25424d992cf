// Who gets a place and when, and what is promised beforehand. README.md, "Admission".
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "scheduler/impl.h"
#include "scheduler/slack_policy.h"

namespace longtake::scheduler {
namespace {

// A quote is so much longer than the prediction: what comes late is mostly the batches of others, which are not in it.
constexpr double kQuoteMargin = 1.25;
// Of the device, that offline requests can count on and live ones cannot take.
constexpr double kLeastShare = 0.1;

absl::Duration Seconds(double seconds) { return absl::Seconds(std::max(0.0, seconds)); }

// One whose first chunk would come so much later than alone waits: it would start its viewer's clock whenever the
// device has a moment for it, and what follows has been found to fit only from then on.
constexpr double kLatestStart = 4;

bool StartsNow(double alone, const Demand& demand, const Forecast& forecast) {
  return demand.at <= kLatestStart * alone / forecast.capacity() && forecast.Fits(demand, 0);
}

// Where more have to end than there are, each place is taken again for as long as the longest now there.
double NthEnding(std::vector<double> endings, int64_t n) {
  if (n == 0 || endings.empty()) return 0;
  std::sort(endings.begin(), endings.end());
  const auto count = static_cast<int64_t>(endings.size());
  return endings[(n - 1) % count] + endings.back() * static_cast<double>((n - 1) / count);
}

}  // namespace

int Scheduler::Impl::OfflinePlaced() const {
  return static_cast<int>(std::count_if(placed_.begin(), placed_.end(), [](const Session* s) { return !s->live(); }));
}

bool Scheduler::Impl::AdmitOne() {
  if (static_cast<int>(placed_.size()) >= options_.places) return false;
  if (!live_waiting_.empty() && !load_holds_) load_holds_ = !LoadPermits(sessions_.at(live_waiting_.front()));
  const bool live = !live_waiting_.empty() && !load_holds_;
  if (!live && (offline_waiting_.empty() || OfflinePlaced() >= options_.places - options_.live_places)) return false;
  const SessionId id = Queue(live).front();
  Queue(live).pop_front();
  positions_changed_ = true;
  Session& session = sessions_.at(id);
  session.order = ++admissions_;
  session.waits_since = batches_;
  placed_.push_back(&session);
  session.state = Session::State::kOpening;
  actions_.push_back([this, id] { OnOpened(id, device_->Open(id)); });
  return true;
}

void Scheduler::Impl::OnOpened(SessionId id, const absl::Status& status) {
  {
    const std::lock_guard lock(mutex_);
    Session& session = sessions_.at(id);
    if (status.ok()) {
      session.state = Session::State::kRunning;
      if (session.end_why.has_value()) ending_.push_back(id);  // cancelled meanwhile
    } else {
      session.state = Session::State::kWaiting;  // has no place to close
      if (!session.end_why.has_value()) session.end_why = status;
      ending_.push_back(id);
    }
  }
  if (status.ok()) listener_->OnAdmitted(id);
}

absl::Status Scheduler::Impl::Check(const Request& request) const {
  if (!refuse_why_.ok()) return refuse_why_;
  if (request.denoise_steps < 1) return absl::InvalidArgumentError("denoise_steps must be at least 1");
  if (request.block_latents.empty()) return absl::InvalidArgumentError("block_latents is empty");
  for (int latents : request.block_latents) {
    if (latents < 1) return absl::InvalidArgumentError("block_latents has a block without latent frames");
  }
  if (!(request.latent_tokens > 0)) return absl::InvalidArgumentError("latent_tokens must be above 0");
  if (!(request.first_decode > 0)) return absl::InvalidArgumentError("first_decode must be above 0");
  if (!request.block_seconds.empty() && request.block_seconds.size() != request.block_latents.size()) {
    return absl::InvalidArgumentError("block_seconds and block_latents differ in length");
  }
  for (double seconds : request.block_seconds) {
    if (!(seconds > 0)) return absl::InvalidArgumentError("block_seconds has a block without length");
  }
  for (size_t i = 0; i < request.step_ladder.size(); ++i) {
    const int most = i == 0 ? request.denoise_steps : request.step_ladder[i - 1] - 1;
    if (request.step_ladder[i] < 1 || request.step_ladder[i] > most || (i == 0 && request.step_ladder[0] != most)) {
      return absl::InvalidArgumentError("step_ladder must descend from denoise_steps");
    }
  }
  for (size_t i = 0; i < request.prompt_blocks.size(); ++i) {
    const int block = request.prompt_blocks[i];
    if (block <= (i == 0 ? 0 : request.prompt_blocks[i - 1]) ||
        block >= static_cast<int>(request.block_latents.size())) {
      return absl::InvalidArgumentError("prompt_blocks must ascend from 1 within the video");
    }
  }
  if (sessions_.contains(request.id)) {
    return absl::InvalidArgumentError(absl::StrCat("id ", request.id, " is in use"));
  }
  return absl::OkStatus();
}

double Scheduler::Impl::LiveLoad() const {
  const auto live = static_cast<int>(placed_.size()) - OfflinePlaced();
  double load = 0;
  for (const Session* session : placed_) load += session->NeededLoad(cost_, live);
  return load;
}

Forecast Scheduler::Impl::LiveForecast(const Session& next, bool with_waiting) const {
  std::vector<const Session*> others;
  const auto add = [&](const Session& session) {
    if (&session != &next && session.has_pace() && !session.end_why.has_value()) others.push_back(&session);
  };
  for (const Session* session : placed_) add(*session);
  if (with_waiting) {
    for (SessionId id : live_waiting_) add(sessions_.at(id));
  }
  const absl::Duration now = clock_->Now();
  const int company = static_cast<int>(others.size()) + 1;
  Forecast forecast(std::clamp(options_.max_live_load, kLeastShare, 1.0), company);
  for (const Session* session : others) forecast.Add(session->NeededBy(now, cost_, company));
  forecast.Add({.work = Blocking()});
  forecast.Sort();
  return forecast;
}

double Scheduler::Impl::Blocking() const {
  double longest = in_flight_ > 0 ? std::max(0.0, absl::ToDoubleSeconds(batch_ends_ - clock_->Now())) : 0;
  for (const Session* session : placed_) {
    if (!session->end_why.has_value() && !session->done()) longest = std::max(longest, session->LongestPass(cost_));
  }
  return longest;
}

bool Scheduler::Impl::LoadPermits(const Session& session) const {
  if (!cost_.learned() || !session.has_pace() || std::isinf(options_.max_live_load)) return true;
  if (std::none_of(placed_.begin(), placed_.end(), [](const Session* other) { return other->has_pace(); })) return true;
  const Forecast forecast = LiveForecast(session, /*with_waiting=*/false);
  const double alone = session.ToNextChunk(cost_).seconds;
  return StartsNow(alone, FirstDemand(session, alone, forecast), forecast);
}

Demand Scheduler::Impl::FirstDemand(const Session& session, double alone, const Forecast& forecast) const {
  Demand demand = session.NeededBy(clock_->Now(), cost_, forecast.company());
  // Who starts shares no batches yet.
  demand.at = forecast.FirstChunk(alone);
  return demand;
}

int64_t Scheduler::Impl::PlacesMissing(const Session& session, int waiting) const {
  const auto placed = static_cast<int64_t>(placed_.size());
  int64_t missing = placed + waiting + 1 - options_.places;
  if (!session.live()) {
    missing = std::max<int64_t>(missing, OfflinePlaced() + waiting + 1 - (options_.places - options_.live_places));
  }
  return std::max<int64_t>(0, missing);
}

void Scheduler::Impl::PromiseLive(const Session& session, Quote& quote) const {
  const absl::Duration now = clock_->Now();
  const Forecast forecast = LiveForecast(session, /*with_waiting=*/true);
  const double alone = session.ToNextChunk(cost_).seconds;
  Demand demand = FirstDemand(session, alone, forecast);
  double start = 0;
  if (!std::isinf(options_.max_live_load) && !StartsNow(alone, demand, forecast)) {
    demand.at = alone / forecast.capacity();
    start = forecast.EarliestStart(demand);
  }
  if (const int64_t missing = PlacesMissing(session, quote.waiting); missing > 0) {
    std::vector<double> last_due, endings;
    for (const Session* other : placed_) {
      if (other->has_pace()) {
        const Demand needed = other->NeededBy(now, cost_, forecast.company());
        last_due.push_back(needed.at + needed.length);
      } else {
        endings.push_back(other->SecondsLeft(cost_) / kLeastShare);
      }
    }
    const std::vector<double> done = forecast.DoneBy(std::move(last_due));
    endings.insert(endings.end(), done.begin(), done.end());
    start = std::max(start, NthEnding(std::move(endings), missing));
  }
  // Nobody overtakes those before it.
  if (!live_waiting_.empty()) {
    start = std::max(start, absl::ToDoubleSeconds(sessions_.at(live_waiting_.back()).start_expected - now));
  }
  quote.start = Seconds(start);
  const double first = start + demand.at;
  quote.first_chunk = Seconds(first);
  quote.last_chunk = Seconds(std::max(first + demand.length, start + session.SecondsLeft(cost_)));
}

// An estimate: live requests that come later go first.
void Scheduler::Impl::PromiseOffline(const Session& session, Quote& quote) const {
  const double share = std::max(kLeastShare, 1 - LiveLoad());
  double before = 0;
  std::vector<double> endings;
  for (const Session* other : placed_) {
    if (other->live()) continue;
    before += other->SecondsLeft(cost_);
    endings.push_back(before / share);
  }
  for (SessionId id : offline_waiting_) before += sessions_.at(id).SecondsLeft(cost_);
  quote.start = Seconds(NthEnding(std::move(endings), PlacesMissing(session, quote.waiting)));
  quote.first_chunk = Seconds((before + session.ToNextChunk(cost_).seconds) / share);
  quote.last_chunk = Seconds((before + session.SecondsLeft(cost_)) / share);
}

Quote Scheduler::Impl::Promise(const Session& session) const {
  Quote quote;
  quote.waiting = static_cast<int>((session.live() ? live_waiting_ : offline_waiting_).size());
  quote.confidence = (quotes_kept_ + 1.0) / (quotes_ + 2.0);
  if (cost_.learned()) {
    session.live() ? PromiseLive(session, quote) : PromiseOffline(session, quote);
    quote.first_chunk *= kQuoteMargin;
    quote.last_chunk = std::max(quote.first_chunk, quote.last_chunk * kQuoteMargin);
  } else {
    quote.first_chunk = quote.last_chunk = absl::InfiniteDuration();
  }
  // Who need not wait is only passing through the queue. 64 bits: max_waiting may be the largest int, for "any number".
  const int64_t free_places = quote.start > absl::ZeroDuration()
                                  ? 0
                                  : std::max<int64_t>(0, options_.places - static_cast<int64_t>(placed_.size()));
  if (quote.waiting >= options_.max_waiting + free_places) {
    quote.status =
        absl::ResourceExhaustedError(absl::StrCat(placed_.size(), " of ", options_.places, " places are taken and ",
                                                  quote.waiting, " such requests wait, the most that may"));
    quote.retry_after = quote.start;
  } else if (quote.start > options_.max_wait) {
    quote.status = absl::ResourceExhaustedError(absl::StrCat("the wait would be ", absl::FormatDuration(quote.start),
                                                             ", longer than ", absl::FormatDuration(options_.max_wait),
                                                             "; ", quote.waiting, " requests wait"));
    quote.retry_after = quote.start - options_.max_wait;
  }
  if (!quote.status.ok()) quote.retry_after = std::max(absl::Seconds(1), quote.retry_after);
  return quote;
}

Quote Scheduler::Impl::GetQuote(const Request& request) const {
  const std::lock_guard lock(mutex_);
  if (absl::Status status = Check(request); !status.ok()) return {.status = std::move(status)};
  return Promise(Session(request));
}

int Scheduler::Impl::TenantOf(const std::string& name) {
  const auto [found, added] = tenant_numbers_.emplace(name, static_cast<int>(tenants_.size()));
  if (added) {
    const auto weight = options_.tenant_weights.find(name);
    tenants_.push_back({.weight = weight == options_.tenant_weights.end() ? 1 : weight->second});
  }
  return found->second;
}

absl::Status Scheduler::Impl::Add(Request request) {
  const std::lock_guard lock(mutex_);
  if (absl::Status status = Check(request); !status.ok()) return status;
  Session made(std::move(request));
  const Quote quote = Promise(made);
  if (!quote.status.ok()) return quote.status;
  const SessionId id = made.request().id;
  const absl::Duration now = clock_->Now();
  made.tenant = TenantOf(made.request().tenant);
  made.first_quoted = now + quote.first_chunk;
  made.start_expected = now + quote.start;
  // Where there is no promise yet, a first chunk is due at once. The part of a quote that covers errors of prediction
  // is not for others to use up.
  made.first_due = quote.first_chunk < absl::InfiniteDuration() ? now + quote.first_chunk / kQuoteMargin : now;
  if (!made.live()) {
    // A tenant does not save up the time in which it asked for nothing.
    Tenant& tenant = tenants_[made.tenant];
    if (tenant.offline++ == 0) {
      double least = std::numeric_limits<double>::infinity();
      for (const Tenant& other : tenants_) {
        if (&other != &tenant && other.offline > 0) least = std::min(least, other.time);
      }
      if (least < std::numeric_limits<double>::infinity()) tenant.time = std::max(tenant.time, least);
    }
  }
  Queue(made.live()).push_back(id);
  sessions_.emplace(id, std::move(made));
  positions_changed_ = true;
  Pump();
  return absl::OkStatus();
}

}  // namespace longtake::scheduler
