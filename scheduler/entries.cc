// The scheduler's entries, as they take effect on the loop.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "scheduler/core.h"

namespace longtake::scheduler {

Quote Core::Refused(Refusal refusal, absl::Status status, absl::Duration retry_after) const {
  Quote quote;
  quote.status = std::move(status);
  quote.refusal = refusal;
  quote.retry_after = retry_after;
  quote.first_chunk = quote.last_chunk = quote.start = absl::InfiniteDuration();
  quote.confidence = admission_.promises().confidence();
  return quote;
}

std::optional<Quote> Core::RefusedOutright(const Request& request) const {
  if (!refuse_why_.ok()) return Refused(Refusal::kStopped, refuse_why_, tuning::kRetryUnknown);
  absl::Status status = Check(request);
  if (status.ok() && roster_.sessions.contains(request.id)) {
    status = absl::InvalidArgumentError(absl::StrCat("id ", Number(request.id), " is in use"));
  }
  if (!status.ok()) return Refused(Refusal::kInvalid, std::move(status), absl::InfiniteDuration());
  if (request.delivery == Delivery::kOffline && options_.live_places >= options_.places) {
    return Refused(Refusal::kNoOffline,
                   absl::FailedPreconditionError("delivery: all places are for live requests; there is none for offline"
                                                 " ones"),
                   absl::InfiniteDuration());
  }
  if (request.delivery == Delivery::kLive && options_.max_tenant_live > 0 &&
      tenants_.live(request.tenant) >= options_.max_tenant_live) {
    return Refused(Refusal::kTenantLimit,
                   absl::ResourceExhaustedError(absl::StrCat("the tenant has ", options_.max_tenant_live,
                                                             " live requests, the most that one may")),
                   tuning::kRetryUnknown);
  }
  return std::nullopt;
}

Quote Core::GetQuote(const Request& request) const {
  if (std::optional<Quote> refused = RefusedOutright(request)) return *std::move(refused);
  return admission_.Price(Session(request), Now()).quote;
}

Quote Core::Enter(Request request) {
  if (std::optional<Quote> refused = RefusedOutright(request)) return *std::move(refused);
  // What became free since the last turn is for those who wait. Were the request priced before they have it, it could
  // be told a start that goes to one of them.
  Settle();
  Session made(std::move(request));
  const absl::Duration now = Now();
  const Admission::Offer offer = admission_.Price(made, now);
  if (!offer.quote.ok()) return offer.quote;
  const SessionId id = made.id();
  Session& session = roster_.sessions.emplace(id, std::move(made)).first->second;
  session.device = offer.device;
  session.tenant = tenants_.Add(session.request().tenant, session.request().delivery);
  session.arrived = now;
  session.start_expected = now + offer.quote.start;
  session.first_quoted = now + offer.quote.first_chunk;
  // Where there is no promise yet, a first chunk is due at once. What a promise has to cover errors of prediction is
  // not for others to use up.
  // The first chunk of a video whose blocks are made again is one that nobody waits for.
  Quote quote = offer.quote;
  const bool again = !session.request().made_levels.empty();
  if (again) quote.first_chunk = absl::InfiniteDuration();
  const bool promised = offer.first_chunk < absl::InfiniteDuration();
  session.first_due = promised ? now + offer.first_chunk : now;
  if (promised && session.live() && !again) {
    admission_.promises().Given(id, now, offer.first_chunk, offer.quote.first_chunk);
  }
  roster_.waiting(session.live()).push_back(&session);
  Touch(session, now);
  admission_.Changed();
  positions_changed_ = true;
  if (offer.at_once) granted_ = Admission::Start{&session, offer.device};
  return quote;
}

void Core::Cancel(SessionId id, absl::Status why) {
  if (Session* session = roster_.Find(id)) End(*session, std::move(why));
}

void Core::CancelAll(const absl::Status& why) {
  for (auto& [id, session] : roster_.sessions) End(session, why);
}

absl::StatusOr<Scheduler::PromptPlace> Core::ChangePrompt(SessionId id, int block) {
  Session* const session = roster_.Find(id);
  if (session == nullptr || session->end_why.has_value()) {
    return absl::NotFoundError(absl::StrCat("session ", Number(id), " is not being made"));
  }
  const int prompt = session->prompts();
  if (prompt >= tuning::kMostPrompts) {
    return absl::ResourceExhaustedError(absl::StrCat("a video may have ", tuning::kMostPrompts, " prompts"));
  }
  absl::StatusOr<int> from = session->ChangePrompt(block, prompt);
  if (!from.ok()) return from.status();
  return Scheduler::PromptPlace{*from, prompt};
}

void Core::Delivered(SessionId id, absl::Duration until) {
  const absl::Duration now = Now();
  if (until > absl::ZeroDuration()) admission_.promises().Delivered(id, now);
  if (Session* session = roster_.Find(id)) {
    session->Delivered(now, until);
    Touch(*session, now);
  }
}

void Core::Consumed(SessionId id, absl::Duration position, bool paused) {
  const absl::Duration now = Now();
  if (Session* session = roster_.Find(id)) {
    session->Consumed(now, position, paused);
    Touch(*session, now);
  }
}

void Core::StopAdmission(absl::Status why) {
  refuse_why_ = std::move(why);
  for (auto& [id, session] : roster_.sessions) {
    if (session.state == Session::State::kWaiting) End(session, refuse_why_);
  }
}

Stats Core::stats() const {
  const absl::Duration now = Now();
  Stats stats;
  stats.live_waiting = static_cast<int>(roster_.live_waiting.size());
  stats.waiting = stats.live_waiting + static_cast<int>(roster_.offline_waiting.size());
  stats.suspended = static_cast<int>(roster_.suspended.size());
  for (const DeviceState& device : roster_.devices) {
    stats.running += static_cast<int>(device.placed.size());
    for (const Session* session : device.placed) {
      if (session->attention == Session::Attention::kAsleep) {
        ++stats.asleep;
        continue;
      }
      if (session->Parked(options_)) {
        ++stats.parked;
      } else if (session->ahead()) {
        ++stats.ahead;
      }
      if (session->live() && !session->done()) {
        stats.slacks.push_back(absl::ToDoubleSeconds(session->Due() - now) -
                               session->ToNextChunk(device.costs()).seconds);
      }
    }
  }
  for (const auto& [id, session] : roster_.sessions) {
    const double left = session.SecondsLeft(roster_.devices[session.device].costs());
    stats.backlog_seconds += left;
    if (session.live()) stats.live_backlog_seconds += left;
  }
  stats.live_load = admission_.LiveLoad();
  stats.capacity = 1;
  for (const auto& lane : roster_.lanes) {
    stats.capacity = std::min(stats.capacity, admission_.Capacity(*lane));
    stats.prediction_error = std::max(stats.prediction_error, lane->cost().error());
    for (PassKind kind : kPassKinds) {
      double& error = stats.kind_error[Work::Index(kind)];
      error = std::max(error, lane->cost().error(kind));
    }
    stats.batches += lane->batches();
    stats.passes_in_flight += lane->passes_in_flight();
  }
  stats.quotes = admission_.promises().given();
  stats.quotes_kept = admission_.promises().kept();
  stats.tenant_device_seconds = tenants_.device_seconds();
  return stats;
}

}  // namespace longtake::scheduler
