// Traces: which calls have one, what its spans say, and that a collector which is away costs a counter and nothing
// else.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/telemetry/trace_context.h"
#include "server/telemetry/tracer.h"
#include "tests/server/access_fixture.h"
#include "tests/server/http_client.h"
#include "tests/server/mock_collector.h"

namespace longtake::server {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

constexpr char kTrace[] = "4bf92f3577b34da6a3ce929d0e0e4736", kParent[] = "00f067aa0ba902b7";
constexpr char kNeedle[] = "unmistakable";

std::string Header(bool sampled) { return absl::StrCat("00-", kTrace, "-", kParent, sampled ? "-01" : "-00"); }

TEST(Traceparent, IsParsedStrictly) {
  const auto parsed = ParseTraceparent(Header(true));
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->trace_id, kTrace);
  EXPECT_EQ(parsed->span_id, kParent);
  EXPECT_TRUE(parsed->sampled);
  EXPECT_EQ(ToTraceparent(*parsed), Header(true));
  EXPECT_FALSE(ParseTraceparent(Header(false))->sampled);
  EXPECT_EQ(ToTraceparent(*ParseTraceparent(Header(false))), Header(false));
  // Flags that have no meaning yet, and a later version with more behind.
  EXPECT_TRUE(ParseTraceparent(absl::StrCat("00-", kTrace, "-", kParent, "-ff"))->sampled);
  EXPECT_FALSE(ParseTraceparent(absl::StrCat("00-", kTrace, "-", kParent, "-fe"))->sampled);
  EXPECT_TRUE(ParseTraceparent(absl::StrCat("01-", kTrace, "-", kParent, "-01-more")).has_value());

  const std::string zeros(32, '0');
  for (const std::string& wrong :
       {std::string(), std::string("00"), absl::StrCat("00-", kTrace, "-", kParent),
        absl::StrCat("00-", kTrace, "-", kParent, "-1"), absl::StrCat("00-", kTrace, "-", kParent, "-01-more"),
        absl::StrCat("00-", kTrace, "-", kParent, "-0g"), absl::StrCat("00-", kTrace, "-", kParent, "-01 "),
        absl::StrCat("01-", kTrace, "-", kParent, "-01more"), absl::StrCat("ff-", kTrace, "-", kParent, "-01"),
        absl::StrCat("0-", kTrace, "-", kParent, "-001"), absl::StrCat("00-", zeros, "-", kParent, "-01"),
        absl::StrCat("00-", kTrace, "-", zeros.substr(16), "-01"),
        absl::StrCat("00-", absl::AsciiStrToUpper(kTrace), "-", kParent, "-01"),
        absl::StrCat("00_", kTrace, "-", kParent, "-01"), absl::StrCat("00-", kTrace, kParent, "--01")}) {
    EXPECT_FALSE(ParseTraceparent(wrong).has_value()) << wrong;
  }
}

// How often a counter of spans has counted.
double Spans(const Metrics& metrics, const std::string& outcome) {
  const std::string text = metrics.Text(),
                    name = absl::StrCat("longtake_trace_spans_total{outcome=\"", outcome, "\"} ");
  const size_t at = text.find(name);
  return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size()));
}

class TracerTest : public testing::Test {
 protected:
  std::unique_ptr<Tracer> Start(TraceOptions options) {
    absl::StatusOr<std::unique_ptr<Tracer>> tracer = Tracer::Start(options, {}, &metrics, &logger);
    EXPECT_TRUE(tracer.ok()) << tracer.status();
    return *std::move(tracer);
  }

  const std::shared_ptr<TextSink> lines = std::make_shared<TextSink>();
  spdlog::logger logger{"test", lines};
  Metrics metrics;
};

TEST_F(TracerTest, TheParentsFlagHoldsAndElseTheRatio) {
  const auto tracer = Start({.endpoint = "http://127.0.0.1:9", .ratio = 0});
  std::string parent;
  TraceContext context = tracer->Begin(Header(true), parent);
  EXPECT_TRUE(context.sampled);
  EXPECT_EQ(context.trace_id, kTrace);
  EXPECT_EQ(parent, kParent);
  EXPECT_THAT(context.span_id, MatchesRegex("[0-9a-f]{16}"));
  EXPECT_NE(context.span_id, kParent);
  const auto all = Start({.endpoint = "http://127.0.0.1:9", .ratio = 1});
  EXPECT_FALSE(all->Begin(Header(false), parent).sampled);
  const auto some = Start({.endpoint = "http://127.0.0.1:9", .ratio = 0.25});
  int sampled = 0;
  std::set<std::string> ids;
  for (int i = 0; i < 4000; ++i) {
    std::string none;
    context = some->Begin(i % 2 == 0 ? "" : "not one", none);
    EXPECT_EQ(none, "");
    ids.insert(context.trace_id);
    sampled += context.sampled ? 1 : 0;
    EXPECT_TRUE(all->Begin("", none).sampled);
    EXPECT_FALSE(tracer->Begin("", none).sampled);
  }
  EXPECT_EQ(ids.size(), 4000u);
  // Ten standard deviations of a binomial's 27.
  EXPECT_NEAR(sampled, 1000, 274);
  EXPECT_THAT(Tracer::Start({.endpoint = "collector:4318"}, {}, &metrics, &logger).status().message(),
              HasSubstr("otlp-endpoint"));
}

TEST_F(TracerTest, ACollectorThatNeverAnswersCostsNobodyAnything) {
  MockCollector silent(/*answers=*/false);
  {
    const auto tracer = Start({.endpoint = silent.endpoint(),
                               .flush = absl::Milliseconds(1),
                               .queue = 8,
                               .timeout = absl::Milliseconds(200)});
    // No more than those under way and those that wait are kept at any time.
    for (int i = 0; i < 1000; ++i) tracer->Add({.context = {kTrace, kParent, true}, .name = "a"});
    EXPECT_GT(Spans(metrics, "dropped"), 0);
  }
  EXPECT_EQ(Spans(metrics, "dropped"), 1000);
  EXPECT_EQ(Spans(metrics, "sent"), 0);
  // It is said once, not for each request.
  EXPECT_EQ(std::vector<std::string>(absl::StrSplit(lines->text(), "does not take spans")).size(), 2u);
}

TEST_F(TracerTest, WhatWaitsIsSentAtTheEnd) {
  MockCollector collector;
  {
    const auto tracer =
        Start({.endpoint = collector.endpoint() + "/", .flush = absl::Hours(1), .timeout = absl::Minutes(1)});
    for (int i = 0; i < 5; ++i) tracer->Add({.context = {kTrace, kParent, true}, .name = "a"});
  }
  EXPECT_EQ(collector.spans().size(), 5u);
  EXPECT_THAT(collector.requests().front().head, HasSubstr("post /v1/traces http/1.1\r\n"));
  EXPECT_EQ(Spans(metrics, "sent"), 5);
  MockCollector refuses(/*answers=*/true, 503);
  Start({.endpoint = refuses.endpoint(), .flush = absl::Hours(1)})->Add({.name = "a"});
  EXPECT_EQ(Spans(metrics, "dropped"), 1);
}

class TraceTest : public AccessFixture {
 protected:
  void StartTraced(const std::string& endpoint, double ratio, ServerOptions options = {}) {
    options.trace = {.endpoint = endpoint, .ratio = ratio, .instance = "pod-1", .flush = absl::Milliseconds(20)};
    options.build = {.version = "1.2.3", .commit = "0123456789ab"};
    options.http_listen = "127.0.0.1:0";
    StartAndServe({.denoise = absl::Milliseconds(3), .commit = absl::Milliseconds(2), .decode = absl::Milliseconds(1)},
                  std::move(options));
  }
  Watched GenerateTraced(const std::string& traceparent, double seconds = 2) {
    v1::GenerateVideoRequest request = Request(seconds);
    request.mutable_spec()->set_prompt(absl::StrCat("a ball, ", kNeedle));
    grpc::ClientContext context;
    if (!traceparent.empty()) context.AddMetadata("traceparent", traceparent);
    return ReadAll(context, *stub->GenerateVideo(&context, request), nullptr);
  }
};

std::map<std::string, std::string> TextAttributes(const json& of) {
  std::map<std::string, std::string> text;
  for (const json& attribute : of.at("attributes")) {
    const json& value = attribute.at("value");
    EXPECT_EQ(value.size(), 1u);
    if (value.contains("stringValue")) text[attribute.at("key")] = value["stringValue"];
    if (value.contains("intValue")) text[attribute.at("key")] = value["intValue"].get<std::string>();
  }
  return text;
}

std::vector<json> Named(const std::vector<json>& spans, const std::string& name) {
  std::vector<json> found;
  for (const json& span : spans) {
    if (span.at("name") == name) found.push_back(span);
  }
  return found;
}

int64_t Nanos(const json& span, const char* field) {
  int64_t nanos = 0;
  EXPECT_TRUE(absl::SimpleAtoi(span.at(field).get<std::string>(), &nanos)) << "64 bits are text";
  return nanos;
}

TEST_F(TraceTest, AVideosSpansHangTogether) {
  MockCollector collector;
  StartTraced(collector.endpoint(), /*ratio=*/0, {.store = folder + "/store"});
  const Watched video = GenerateTraced(Header(true));
  ASSERT_TRUE(video.status.ok());
  const std::string method = "longtake.v1.VideoService/GenerateVideo";
  Await([&] { return !Named(collector.spans(), "video").empty() && !Named(collector.spans(), method).empty(); },
        "the spans");
  const std::vector<json> spans = collector.spans();

  std::set<std::string> ids;
  for (const json& span : spans) {
    EXPECT_EQ(span.at("traceId"), kTrace);
    EXPECT_THAT(span.at("spanId").get<std::string>(), MatchesRegex("[0-9a-f]{16}"));
    EXPECT_TRUE(ids.insert(span.at("spanId")).second) << "two spans have one id";
    EXPECT_LE(Nanos(span, "startTimeUnixNano"), Nanos(span, "endTimeUnixNano")) << span;
    EXPECT_EQ(span.at("kind"), span.at("name") == method ? 2 : 1);
    EXPECT_TRUE(span.at("status").is_object());
  }
  const json call = Named(spans, method).front(), whole = Named(spans, "video").front();
  EXPECT_EQ(call.at("parentSpanId"), kParent);
  EXPECT_EQ(TextAttributes(call).at("longtake.code"), "OK");
  EXPECT_EQ(TextAttributes(call).at("longtake.video"), video.video().name());
  EXPECT_EQ(whole.at("parentSpanId"), call.at("spanId"));
  EXPECT_EQ(TextAttributes(whole).at("longtake.video"), video.video().name());
  EXPECT_EQ(TextAttributes(whole).at("longtake.outcome"), "ok");
  ASSERT_EQ(Named(spans, "queue").size(), 1u);
  EXPECT_EQ(Named(spans, "queue").front().at("parentSpanId"), whole.at("spanId"));
  // 33 frames are four blocks.
  const std::vector<json> blocks = Named(spans, "block");
  ASSERT_EQ(blocks.size(), 4u);
  std::set<std::string> block_ids, numbers;
  for (const json& block : blocks) {
    EXPECT_EQ(block.at("parentSpanId"), whole.at("spanId"));
    block_ids.insert(block.at("spanId"));
    numbers.insert(TextAttributes(block).at("longtake.block"));
  }
  EXPECT_THAT(numbers, testing::ElementsAre("0", "1", "2", "3"));
  for (const auto& [name, count] : std::map<std::string, size_t>{
           {"encode_prompt", 1}, {"denoise", 4}, {"commit", 4}, {"decode", 4}, {"encode", 4}, {"store", 4}}) {
    const std::vector<json> parts = Named(spans, name);
    // The engine's first pass of a kind may take no time on its clock.
    if (name == "encode_prompt") {
      EXPECT_LE(parts.size(), count);
    } else {
      EXPECT_EQ(parts.size(), count) << name;
    }
    for (const json& part : parts) EXPECT_EQ(block_ids.count(part.at("parentSpanId")), 1u) << name;
  }
  // Device time: three steps of 3 ms.
  const json denoise = Named(spans, "denoise").front();
  EXPECT_NEAR(Nanos(denoise, "endTimeUnixNano") - Nanos(denoise, "startTimeUnixNano"), 9e6, 1e3);

  const json body = json::parse(collector.requests().front().body);
  EXPECT_EQ(body.at("resourceSpans").size(), 1u);
  const auto resource = TextAttributes(body.at("resourceSpans")[0].at("resource"));
  EXPECT_EQ(resource.at("service.name"), "longtake-server");
  EXPECT_EQ(resource.at("service.version"), "1.2.3");
  EXPECT_EQ(resource.at("service.instance.id"), "pod-1");
  EXPECT_EQ(resource.at("longtake.commit"), "0123456789ab");
  EXPECT_THAT(collector.requests().front().head, HasSubstr("content-type: application/json\r\n"));
  for (const MockCollector::Request& request : collector.requests()) {
    EXPECT_THAT(request.head + request.body, Not(HasSubstr(kNeedle)));
  }
}

TEST_F(TraceTest, CallsWithoutATraceAreTracedByTheRatio) {
  MockCollector collector;
  StartTraced(collector.endpoint(), /*ratio=*/0);
  ASSERT_TRUE(GenerateTraced(Header(false)).status.ok());
  ASSERT_TRUE(GenerateTraced("").status.ok());
  ASSERT_TRUE(GenerateTraced("00-not-a-trace-01").status.ok());
  server.reset();  // sends what there is
  EXPECT_EQ(collector.spans().size(), 0u);

  StartTraced(collector.endpoint(), /*ratio=*/1);
  ASSERT_TRUE(GenerateTraced("00-not-a-trace-01").status.ok());
  server.reset();
  const std::vector<json> spans = collector.spans();
  const std::vector<json> calls = Named(spans, "longtake.v1.VideoService/GenerateVideo");
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_FALSE(calls.front().contains("parentSpanId"));
  EXPECT_EQ(Named(spans, "video").size(), 1u);
  EXPECT_EQ(Named(spans, "store").size(), 0u) << "nothing is stored";
}

TEST_F(TraceTest, OverHttpAndWithoutSecrets) {
  MockCollector collector;
  const std::string token = absl::StrCat("token-", kNeedle);
  ServerOptions options;
  options.access.tokens = Write("tokens", absl::StrCat("acme alice ", Sha256Hex(token), "\n"));
  StartTraced(collector.endpoint(), /*ratio=*/1, options);
  const std::string traced = absl::StrCat("Authorization: Bearer ", token, "\r\nTraceparent: ", Header(true), "\r\n");
  const json body = {{"prompt", absl::StrCat("a cone, ", kNeedle)}, {"seconds", 1}};
  HttpClient client(server->http_port());
  EXPECT_EQ(client.Ask("POST", "/v1/videos", body.dump(), traced).status, 200);
  EXPECT_EQ(client.Ask("POST", "/v1/videos", absl::StrCat("{\"prompt\": ", kNeedle), traced).status, 400);
  EXPECT_EQ(client.Ask("GET", absl::StrCat("/v1/", kNeedle), "", traced).status, 404);
  EXPECT_EQ(client.Ask("GET", "/v1/videos", "", absl::StrCat("Authorization: Bearer other-", kNeedle, "\r\n")).status,
            401);
  Await([&] { return Named(collector.spans(), "video").size() == 1; }, "the video's span");
  server.reset();
  const std::vector<json> posts = Named(collector.spans(), "POST /v1/videos");
  ASSERT_EQ(posts.size(), 2u);
  for (const json& post : posts) {
    EXPECT_EQ(post.at("traceId"), kTrace);
    EXPECT_EQ(post.at("parentSpanId"), kParent);
    EXPECT_EQ(TextAttributes(post).at("longtake.tenant"), "acme");
  }
  EXPECT_EQ(Named(collector.spans(), "GET /v1/{other}").size(), 1u);
  for (const MockCollector::Request& request : collector.requests()) {
    EXPECT_THAT(request.head + request.body, Not(HasSubstr(kNeedle)));
    EXPECT_THAT(request.head + request.body, Not(HasSubstr(Sha256Hex(token))));
  }
}

TEST_F(TraceTest, WithoutACollectorVideosAreMadeAllTheSame) {
  std::string endpoint;
  {
    MockCollector gone;
    endpoint = gone.endpoint();
  }
  StartTraced(endpoint, /*ratio=*/1);
  ASSERT_TRUE(GenerateTraced("").status.ok());
  Await([&] { return !absl::StrContains(server->MetricsText(), "spans_total{outcome=\"dropped\"} 0\n"); }, "the count");
  EXPECT_THAT(server->MetricsText(), HasSubstr("longtake_trace_spans_total{outcome=\"sent\"} 0\n"));
  EXPECT_THAT(LogText(), HasSubstr("does not take spans"));
}

}  // namespace
}  // namespace longtake::server
