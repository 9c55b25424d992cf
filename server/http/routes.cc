#include "server/http/routes.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "server/http/form.h"
#include "server/http/hls.h"
#include "server/http/logged_call.h"
#include "server/http/open_to.h"
#include "server/http/page.h"
#include "server/http/request_json.h"
#include "server/http/video_json.h"
#include "server/http/video_stream.h"

namespace longtake::server {
namespace {

using nlohmann::json;

HttpAnswer NoSuchPath(const HttpRequest& request) { return ToAnswer(NotFound(Reason::kVideoNotFound, request.path)); }

HttpAnswer WrongMethod(const char* allowed) {
  HttpAnswer answer{.status = 405, .body = "not for this method\n"};
  answer.headers.emplace_back("Allow", allowed);
  return answer;
}

// Nothing that a page of ours needs comes from elsewhere.
HttpAnswer PagePart(const std::string& file, std::string_view text) {
  const char* type = absl::EndsWith(file, ".js")    ? "text/javascript; charset=utf-8"
                     : absl::EndsWith(file, ".css") ? "text/css; charset=utf-8"
                                                    : "text/html; charset=utf-8";
  return {.content_type = type,
          .body = std::string(text),
          .headers = {{"Cache-Control", "no-cache"},
                      {"Content-Security-Policy",
                       "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; frame-ancestors 'self'"},
                      {"X-Content-Type-Options", "nosniff"}}};
}

// Says which of the spec's and the options' fields of the API a field of the JSON is.
absl::Status InJsonNames(const absl::Status& error) {
  ErrorDetails details = DetailsOf(error);
  if (details.reason != Reason::kInvalidRequest) return error;
  for (FieldError& each : details.fields) {
    const std::string named = each.field;
    absl::string_view field = named;
    for (const char* prefix : {"spec.", "delivery_options.", "change."}) absl::ConsumePrefix(&field, prefix);
    each.field = std::string(field);
    absl::string_view rest = field;
    if (absl::ConsumeSuffix(&rest, "at_offset")) each.field = absl::StrCat(rest, "at_seconds");
    if (field == "duration") each.field = "seconds";
    if (field == "first_image") each.field = "input_reference";
    if (field == "delivery") each.field = "offline";
    if (field == "max_wait_duration") each.field = "max_wait_seconds";
    if (field == "max_lead_duration") each.field = "max_lead_seconds";
    if (field == "reconnect_timeout") each.field = "reconnect_seconds";
    if (field == "disconnect_policy") each.field = "on_disconnect";
  }
  return InvalidRequest(std::move(details.fields));
}

// Parses the body, or answers why that cannot be done.
std::optional<json> BodyOf(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
  const auto type = request.headers.find("content-type");
  const bool form = type != request.headers.end() && IsForm(type->second);
  absl::StatusOr<json> body = form ? ParseForm(type->second, request.body) : ParseBody(request.body);
  if (body.ok()) return *std::move(body);
  responder->Answer(ToAnswer(body.status()));
  return std::nullopt;
}

std::string QueryOf(const HttpRequest& request, const char* name) {
  const auto found = request.query.find(name);
  return found == request.query.end() ? std::string() : found->second;
}

}  // namespace

absl::StatusOr<Identity> Identify(const Authenticator& authenticator, const HttpRequest& request) {
  Credentials credentials;
  if (const auto found = request.headers.find("authorization"); found != request.headers.end()) {
    credentials.authorization = found->second;
  }
  return authenticator.Identify(credentials);
}

// A link that does not hold is as none: an identity may do without it, and whoever has none learns nothing of links.
// Only that it has expired is said to whoever has one that was right.
absl::Status Routes::Admit(const HttpRequest& request, const std::string& rest, Visit& visit) const {
  const std::string link = QueryOf(request, "link");
  const std::optional<VideoPath> path = ParseVideoPath(rest);
  absl::Status expired;
  if (!link.empty() && path.has_value() && OnlyWatches(request, path->action)) {
    absl::StatusOr<ViewingGrant> grant = links_->Verify(path->name, link);
    if (grant.ok()) {
      visit.viewer = {.link = link, .left = grant->expires - links_->now()};
      visit.grant = *std::move(grant);
      visit.tenant = visit.grant.tenant;
      return absl::OkStatus();
    }
    if (absl::IsPermissionDenied(grant.status())) expired = grant.status();
  }
  absl::StatusOr<Identity> identity = Identify(*authenticator_, request);
  if (!identity.ok()) return expired.ok() ? identity.status() : expired;
  visit.viewer.everybody = authenticator_->open();
  visit.tenant = std::move(identity->tenant);
  return absl::OkStatus();
}

absl::StatusOr<Routes::Visit> Routes::Enter(const HttpRequest& request, const std::string& rest,
                                            const std::shared_ptr<CallRecord>& call) const {
  Visit visit;
  visit.call = call;
  if (absl::Status admitted = Admit(request, rest, visit); !admitted.ok()) return admitted;
  call->tenant = visit.tenant.id;
  if (absl::Status allowed = quotas_->OnCall(visit.tenant); !allowed.ok()) return allowed;
  absl::StatusOr<std::shared_ptr<Studio>> studio = studio_->Get();
  if (!studio.ok()) return studio.status();
  visit.studio = *std::move(studio);
  return visit;
}

// A browser says whose page asks. Without this any page could have videos made, though it could not read the answer.
bool Routes::OriginMay(const HttpRequest& request) const {
  const auto origin = request.headers.find("origin"), host = request.headers.find("host");
  if (origin == request.headers.end() || options_.allow_origin == "*") return true;
  if (origin->second == options_.allow_origin) return true;
  return host != request.headers.end() && (origin->second == absl::StrCat("http://", host->second) ||
                                           origin->second == absl::StrCat("https://", host->second));
}

void Routes::Handle(const HttpRequest& request, std::shared_ptr<HttpResponder> responder) {
  if (!options_.allow_origin.empty()) {
    responder = OpenTo(options_.allow_origin, std::move(responder));
    if (request.method == "OPTIONS") {
      return responder->Answer(
          {.status = 204,
           .headers = {{"Access-Control-Allow-Methods", "GET, POST, DELETE"},
                       {"Access-Control-Allow-Headers", "authorization, content-type, traceparent, x-request-id"},
                       {"Access-Control-Max-Age", "86400"}}});
    }
  }
  if (!OriginMay(request)) {
    return responder->Answer({.status = 403, .body = "pages of this origin may not: --http-allow-origin\n"});
  }
  const bool get = request.method == "GET";
  if (options_.page && get) {
    // A target that is no path, like "?a" or a whole URL, names no file.
    absl::string_view file = request.path;
    const bool path = absl::ConsumePrefix(&file, "/");
    const std::string name(path && file.empty() ? "index.html" : file);
    const std::string_view text = path ? PageFile(name) : std::string_view();
    if (!text.empty()) return responder->Answer(PagePart(name, text));
  }
  if (request.path == "/healthz") return responder->Answer({.body = "ok\n"});
  if (request.path == "/readyz") {
    const bool yes = ready_();
    return responder->Answer({.status = yes ? 200 : 503, .body = yes ? "ok\n" : "not ready\n"});
  }
  std::string rest = request.path;
  if (rest.rfind("/v1/", 0) != 0) return responder->Answer(NoSuchPath(request));
  rest = rest.substr(4);
  const std::shared_ptr<CallRecord> call = BeginCall(request, *calls_);
  responder = Logged(call, calls_, std::move(responder));
  const absl::StatusOr<Visit> visit = Enter(request, rest, call);
  if (!visit.ok()) return responder->Answer(ToAnswer(visit.status()));
  HandleApi(*visit, request, rest, responder);
}

void Routes::HandleApi(const Visit& visit, const HttpRequest& request, const std::string& rest,
                       const Responder& responder) {
  const bool get = request.method == "GET", post = request.method == "POST";
  if (rest == "models") {
    if (!get) return responder->Answer(WrongMethod("GET"));
    return responder->Answer(
        ToAnswer(json{{"object", "list"}, {"data", json::array({ToJson(visit.studio->model())})}}));
  }
  if (rest == "quote") return post ? Quote(visit, request, responder) : responder->Answer(WrongMethod("POST"));
  if (rest == "videos") {
    if (get) return List(visit, request, responder);
    return post ? Create(visit, request, responder) : responder->Answer(WrongMethod("GET, POST"));
  }
  const std::optional<VideoPath> path = ParseVideoPath(rest);
  if (!path.has_value()) return responder->Answer(NoSuchPath(request));
  const absl::StatusOr<std::shared_ptr<Video>> video = visit.studio->Find(visit.tenant, path->name);
  if (const std::string server = HttpPeers::ServerOf(video.status(), request); !server.empty()) {
    visit.call->video = path->name;
    return peers_->PassOn(server, video.status(), visit.call->origin, request, responder);
  }
  if (!video.ok()) return responder->Answer(ToAnswer(video.status()));
  visit.call->video = path->name;
  HandleVideo(visit, request, *video, path->action, responder);
}

void Routes::HandleVideo(const Visit& visit, const HttpRequest& request, const std::shared_ptr<Video>& video,
                         const std::string& action, const Responder& responder) {
  const std::string& name = video->name();
  if (request.method == "DELETE" && action.empty()) {
    return visit.studio->Delete(visit.tenant, name, [responder, name](const absl::Status& status) {
      if (!status.ok()) return responder->Answer(ToAnswer(status));
      responder->Answer(ToAnswer(json{{"id", IdOf(name)}, {"object", "video.deleted"}, {"deleted", true}}));
    });
  }
  if (request.method == "POST") {
    if (action == "prompt") return ChangePrompt(visit, request, name, responder);
    if (action == "fork") return Fork(visit, request, name, responder);
    if (action == "playback") return ReportPlayback(visit, request, name, responder);
    if (action == "link") return MakeLink(visit, request, name, responder);
    if (action != "cancel") return responder->Answer(NoSuchPath(request));
    const absl::StatusOr<std::shared_ptr<Video>> cancelled = visit.studio->Cancel(visit.tenant, name);
    return responder->Answer(cancelled.ok() ? ToAnswer(ToJson((*cancelled)->info())) : ToAnswer(cancelled.status()));
  }
  if (request.method != "GET") return responder->Answer(WrongMethod("GET, POST, DELETE"));
  if (action.empty()) {
    const Reader reader = visit.viewer.link.empty() ? Reader::kTenant : Reader::kLinkHolder;
    return responder->Answer(ToAnswer(ToJson(video->info(), /*with_blocks=*/true, reader)));
  }
  if (action == "watch") return Stream(visit, request, video, /*events=*/true, responder);
  if (action == "stream.mp4" || action == "content") return Stream(visit, request, video, /*events=*/false, responder);
  // Once for each player, or nearly so.
  if (action == "init.mp4" && !visit.viewer.link.empty()) links_->OnUsed(name);
  AnswerHls(studio_, video, action, request.query, visit.viewer, responder);
}

void Routes::List(const Visit& visit, const HttpRequest& request, const Responder& responder) const {
  int size = 0;
  const std::string limit = QueryOf(request, "limit");
  if (!limit.empty() && !absl::SimpleAtoi(limit, &size)) {
    return responder->Answer(ToAnswer(InvalidRequest({{"limit", "is not a number"}})));
  }
  const absl::StatusOr<VideoPage> page = visit.studio->List(visit.tenant, size, QueryOf(request, "after"));
  if (!page.ok()) return responder->Answer(ToAnswer(page.status()));
  json data = json::array();
  for (const VideoInfo& video : page->videos) data.push_back(ToJson(video, /*with_blocks=*/false));
  responder->Answer(ToAnswer(
      json{{"object", "list"}, {"data", data}, {"has_more", !page->next_token.empty()}, {"next", page->next_token}}));
}

std::function<void(const absl::StatusOr<std::shared_ptr<Video>>&)> Routes::Created(const Visit& visit,
                                                                                   const HttpRequest& request,
                                                                                   const Responder& responder) {
  return [this, call = visit.call, request, responder](const absl::StatusOr<std::shared_ptr<Video>>& video) {
    if (video.ok()) {
      call->video = (*video)->name();
      return responder->Answer(ToAnswer(ToJson((*video)->info())));
    }
    metrics_->Refused(LabelOf(DetailsOf(video.status()).reason));
    if (const std::string server = HttpPeers::ServerOf(video.status(), request); !server.empty()) {
      return peers_->PassOn(server, video.status(), call->origin, request, responder);
    }
    responder->Answer(ToAnswer(InJsonNames(video.status())));
  };
}

void Routes::Create(const Visit& visit, const HttpRequest& request, const Responder& responder) {
  const std::optional<json> body = BodyOf(request, responder);
  if (!body.has_value()) return;
  CreateRequest create = ToCreateRequest(*body);
  create.tenant = visit.tenant;
  create.origin = visit.call->origin;
  create.default_disconnect = Disconnect::kContinue;
  visit.studio->Create(std::move(create), Created(visit, request, responder));
}

void Routes::Fork(const Visit& visit, const HttpRequest& request, const std::string& name, const Responder& responder) {
  const std::optional<json> body = BodyOf(request, responder);
  if (!body.has_value()) return;
  ForkRequest fork = ToForkRequest(*body);
  fork.tenant = visit.tenant;
  fork.origin = visit.call->origin;
  fork.fork.name = name;
  visit.studio->Fork(std::move(fork), Created(visit, request, responder));
}

void Routes::Quote(const Visit& visit, const HttpRequest& request, const Responder& responder) const {
  const std::optional<json> body = BodyOf(request, responder);
  if (!body.has_value()) return;
  CreateRequest create = ToCreateRequest(*body);
  const absl::StatusOr<VideoPlan> plan =
      visit.studio->Check(create.spec, create.options, std::move(create.errors), Purpose::kQuote);
  if (!plan.ok()) return responder->Answer(ToAnswer(InJsonNames(plan.status())));
  visit.studio->GetQuote(visit.tenant, *plan, [responder](const scheduler::Quote& quote) {
    responder->Answer(quote.status.ok() ? ToAnswer(ToJson(quote)) : ToAnswer(InJsonNames(quote.status)));
  });
}

void Routes::ChangePrompt(const Visit& visit, const HttpRequest& request, const std::string& name,
                          const Responder& responder) const {
  const std::optional<json> body = BodyOf(request, responder);
  if (!body.has_value()) return;
  std::vector<FieldError> errors;
  const PromptChange change = ToPromptChange(*body, errors);
  visit.studio->ChangePrompt(
      visit.tenant, name, change, std::move(errors), [responder](const absl::StatusOr<Studio::Receipt>& receipt) {
        if (!receipt.ok()) return responder->Answer(ToAnswer(InJsonNames(receipt.status())));
        responder->Answer(ToAnswer(json{
            {"prompt", receipt->prompt}, {"block", receipt->block}, {"start", absl::ToDoubleSeconds(receipt->pts)}}));
      });
}

void Routes::ReportPlayback(const Visit& visit, const HttpRequest& request, const std::string& name,
                            const Responder& responder) const {
  const std::optional<json> body = BodyOf(request, responder);
  if (!body.has_value()) return;
  std::vector<FieldError> errors;
  const PlaybackReport report = ToPlaybackReport(*body, errors);
  if (!errors.empty()) return responder->Answer(ToAnswer(InvalidRequest(std::move(errors))));
  const absl::StatusOr<absl::Duration> again =
      visit.studio->ReportPlayback(visit.tenant, name, report.viewer_id, report.position, report.paused);
  if (!again.ok()) return responder->Answer(ToAnswer(again.status()));
  responder->Answer(ToAnswer(json{{"report_after_seconds", absl::ToDoubleSeconds(*again)}}));
}

void Routes::MakeLink(const Visit& visit, const HttpRequest& request, const std::string& name,
                      const Responder& responder) const {
  const std::optional<json> body = BodyOf(request, responder);
  if (!body.has_value()) return;
  std::vector<FieldError> errors;
  const std::optional<absl::Duration> duration = ToLinkDuration(*body, errors);
  if (!errors.empty()) return responder->Answer(ToAnswer(InvalidRequest(std::move(errors))));
  const absl::StatusOr<ViewingLinks::Link> link = links_->Make(visit.tenant, name, duration);
  if (!link.ok()) return responder->Answer(ToAnswer(InJsonNames(link.status())));
  const auto address = [&](const char* file) { return absl::StrCat("/v1/", name, "/", file, "?link=", link->text); };
  responder->Answer(ToAnswer(json{{"object", "video.link"},
                                  {"id", IdOf(name)},
                                  {"link", link->text},
                                  {"expires_at", absl::ToUnixSeconds(link->expires)},
                                  {"stream", address("stream.mp4")},
                                  {"playlist", address("index.m3u8")}}));
}

void Routes::Stream(const Visit& visit, const HttpRequest& request, const std::shared_ptr<Video>& video, bool events,
                    const Responder& responder) const {
  WatchOptions options{.with_progress = events, .viewer_id = QueryOf(request, "viewer_id")};
  const std::string from = QueryOf(request, "from_block");
  if (const auto error = CheckIdentifier("viewer_id", options.viewer_id); error.has_value()) {
    return responder->Answer(ToAnswer(InvalidRequest({*error})));
  }
  if (!from.empty() && !absl::SimpleAtoi(from, &options.from_block)) {
    return responder->Answer(ToAnswer(InvalidRequest({{"from_block", "is not a number"}})));
  }
  if (absl::Status kept = video->CheckKept(options.from_block); !kept.ok()) return responder->Answer(ToAnswer(kept));
  const bool by_link = !visit.viewer.link.empty();
  HttpHead head{.content_type = events ? "application/x-longtake-events" : "video/mp4"};
  // A cache that is not told when it may keep an answer may guess.
  if (!visit.viewer.everybody) head.headers.emplace_back("Cache-Control", "private, no-store");
  // Whoever only asks for the head is no viewer.
  if (request.head) return responder->Answer({.content_type = head.content_type, .headers = head.headers});
  absl::StatusOr<std::shared_ptr<void>> counted = quotas_->OpenWatch(visit.tenant);
  if (!counted.ok()) return responder->Answer(ToAnswer(counted.status()));
  const StreamForm form = !events ? StreamForm::kMp4 : by_link ? StreamForm::kLinkEvents : StreamForm::kEvents;
  const auto opened =
      VideoStream::Open(studio_, *std::move(counted), video, options, form, visit.studio->options().max_unread);
  if (!opened.ok()) return responder->Answer(ToAnswer(opened.status()));
  std::shared_ptr<HttpStream> stream = *opened;
  if (by_link) {
    links_->OnUsed(video->name());
    stream = UntilExpired(std::move(stream), [links = links_, grant = visit.grant] { return links->Expired(grant); });
  }
  responder->Stream(std::move(head), std::move(stream));
}

}  // namespace longtake::server
