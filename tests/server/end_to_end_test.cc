// The whole server over real gRPC, with an engine that makes coloured frames.
#include <grpcpp/impl/client_unary_call.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <optional>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {
namespace {

using testing::HasSubstr;

class EndToEnd : public ServerFixture {
 protected:
  // grpc.health.v1.Health/Check by hand: the status' number, 1 SERVING, 2 NOT_SERVING; 0 for an error.
  int Health(const std::string& service = "") {
    std::string request;
    if (!service.empty()) request = absl::StrCat("\x0a", std::string(1, static_cast<char>(service.size())), service);
    grpc::Slice slice(request);
    grpc::ByteBuffer out(&slice, 1), in;
    grpc::ClientContext context;
    const grpc::internal::RpcMethod method("/grpc.health.v1.Health/Check", grpc::internal::RpcMethod::NORMAL_RPC);
    const grpc::Status status = grpc::internal::BlockingUnaryCallImpl<grpc::ByteBuffer, grpc::ByteBuffer>(
                                    channel.get(), method, &context, out, &in)
                                    .status();
    grpc::Slice answer;
    if (!status.ok() || !in.DumpToSingleSlice(&answer).ok() || answer.size() != 2) return 0;
    return answer.begin()[1];
  }
};

std::string Shell(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  std::array<char, 4096> buffer;
  while (size_t size = fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), size);
  EXPECT_EQ(pclose(pipe), 0) << command << "\n" << text;
  return text;
}

TEST_F(EndToEnd, APromptBecomesAnMp4InChunks) {
  StartAndServe();
  const Video video = Generate(Request(2));
  ASSERT_TRUE(video.status.ok()) << video.status.error_message();
  // 32 frames asked; 1 + 4 * 8 = 33 is nearest: 9 latent frames in blocks of 3, 2, 2, 2.
  const v1::Accepted& accepted = video.accepted();
  EXPECT_EQ(accepted.frames(), 33);
  EXPECT_DOUBLE_EQ(accepted.seconds(), 33.0 / 16);
  EXPECT_THAT(accepted.block_frames(), testing::ElementsAre(9, 8, 8, 8));
  EXPECT_EQ(accepted.seed(), 1u);
  EXPECT_EQ(accepted.size().width(), 64);
  EXPECT_EQ(accepted.numerics_id(), "fake-1");

  int64_t next_frame = 0;
  const std::vector<const v1::Chunk*> chunks = video.chunks();
  ASSERT_EQ(chunks.size(), 4u);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(chunks[i]->index(), i);
    EXPECT_EQ(chunks[i]->part(), 0);
    EXPECT_TRUE(chunks[i]->last_part());
    EXPECT_EQ(chunks[i]->init_segment_bytes() > 0, i == 0);
    EXPECT_EQ(chunks[i]->first_frame(), next_frame);
    EXPECT_DOUBLE_EQ(chunks[i]->first_pts_seconds(), static_cast<double>(next_frame) / 16);
    EXPECT_EQ(chunks[i]->frames(), accepted.block_frames(i));
    const v1::ChunkTimes& times = chunks[i]->times();
    EXPECT_LE(times.started(), times.denoised());
    EXPECT_LE(times.denoised(), times.committed());
    EXPECT_LE(times.committed(), times.decoded());
    EXPECT_LE(times.decoded(), times.finished());
    EXPECT_GT(chunks[i]->stages().video(), 0);
    next_frame += chunks[i]->frames();
  }
  ASSERT_TRUE(video.events.back().has_finished());
  EXPECT_EQ(video.finished().frames(), 33);
  EXPECT_EQ(video.finished().chunks(), 4);
  EXPECT_EQ(video.finished().bytes(), static_cast<int64_t>(video.bytes.size()));
  EXPECT_EQ(engine->passes_out_of_order(), 0);

  const std::string path = absl::StrCat(testing::TempDir(), "/end_to_end_", getpid(), ".mp4");
  std::ofstream(path, std::ios::binary) << video.bytes;
  EXPECT_EQ(
      Shell(absl::StrCat("ffprobe -v error -count_frames -show_entries stream=width,height,nb_read_frames -of csv=p=0 ",
                         path, " 2>&1")),
      "64,48,33\n");
  std::remove(path.c_str());
}

TEST_F(EndToEnd, TheFirstChunkIsSentWhileTheSecondIsComputed) {
  StartAndServe({.text = absl::Milliseconds(20),
                 .denoise = absl::Milliseconds(30),
                 .commit = absl::Milliseconds(30),
                 .decode = absl::Milliseconds(10)});
  const absl::Time began = absl::Now();
  std::vector<double> arrived;  // of chunks, seconds
  const Video video = Generate(Request(3), [&](const v1::GenerateEvent& event, grpc::ClientContext&) {
    if (event.has_chunk()) arrived.push_back(absl::ToDoubleSeconds(absl::Now() - began));
  });
  ASSERT_TRUE(video.status.ok());
  const std::vector<const v1::Chunk*> chunks = video.chunks();
  ASSERT_EQ(chunks.size(), 6u);
  for (size_t i = 0; i + 1 < chunks.size(); ++i) {
    EXPECT_LT(arrived[i], chunks[i + 1]->times().denoised()) << "chunk " << i;
  }
}

TEST_F(EndToEnd, RefusesBadRequestsNamingTheFields) {
  StartAndServe();
  struct Case {
    const char* name;
    std::function<void(v1::GenerateRequest&)> change;
    std::vector<std::string> fields;
    std::string says;
  };
  const std::vector<Case> cases = {
      {"no prompt", [](auto& r) { r.clear_prompt(); }, {"prompt"}, "empty"},
      {"blank prompt", [](auto& r) { r.set_prompt(" \n\t"); }, {"prompt"}, "empty"},
      {"long prompt", [](auto& r) { r.set_prompt(std::string(5000, 'a')); }, {"prompt"}, "4096"},
      {"negative prompt", [](auto& r) { r.set_negative_prompt("blur"); }, {"negative_prompt"}, "guidance"},
      {"size",
       [](auto& r) {
         r.mutable_size()->set_width(64);
         r.mutable_size()->set_height(64);
       },
       {"size"},
       "64x48, 96x64"},
      {"empty size", [](auto& r) { r.mutable_size(); }, {"size"}, "0x0"},
      {"no seconds", [](auto& r) { r.clear_seconds(); }, {"seconds"}, "above 0"},
      {"negative seconds", [](auto& r) { r.set_seconds(-1); }, {"seconds"}, "above 0"},
      {"no number", [](auto& r) { r.set_seconds(std::numeric_limits<double>::quiet_NaN()); }, {"seconds"}, "above 0"},
      {"endless", [](auto& r) { r.set_seconds(std::numeric_limits<double>::infinity()); }, {"seconds"}, "10.0625"},
      {"too long", [](auto& r) { r.set_seconds(11); }, {"seconds"}, "10.0625"},
      {"first image", [](auto& r) { r.set_first_image("png"); }, {"first_image"}, "text"},
      {"other model", [](auto& r) { r.set_model("other"); }, {"model"}, "fake"},
      {"delivery", [](auto& r) { r.set_delivery(static_cast<v1::Delivery>(9)); }, {"delivery"}, "9"},
      {"tenant", [](auto& r) { r.set_tenant("a b"); }, {"tenant"}, "'-'"},
      {"long tenant", [](auto& r) { r.set_tenant(std::string(65, 'a')); }, {"tenant"}, "64"},
      {"priority", [](auto& r) { r.set_priority(-2147483647 - 1); }, {"priority"}, "-100 ... 100"},
      {"no wait", [](auto& r) { r.set_max_wait_seconds(0); }, {"max_wait_seconds"}, "above 0"},
      {"no lead", [](auto& r) { r.set_max_lead_seconds(-1); }, {"max_lead_seconds"}, "above 0"},
      {"fidelity", [](auto& r) { r.set_fidelity(static_cast<v1::Fidelity>(7)); }, {"fidelity"}, "7"},
      {"two fields",
       [](auto& r) {
         r.clear_prompt();
         r.set_seconds(0);
       },
       {"prompt", "seconds"},
       "prompt"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    v1::GenerateRequest request = Request(1);
    c.change(request);
    const Video video = Generate(request);
    EXPECT_TRUE(video.events.empty());
    EXPECT_EQ(video.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(video.status.error_message(), HasSubstr(c.says));
    google::rpc::Status details;
    ASSERT_TRUE(details.ParseFromString(video.status.error_details()));
    ASSERT_EQ(details.details_size(), 1);
    google::rpc::BadRequest bad;
    ASSERT_TRUE(details.details(0).UnpackTo(&bad));
    std::vector<std::string> fields;
    for (const auto& violation : bad.field_violations()) fields.push_back(violation.field());
    EXPECT_EQ(fields, c.fields);
  }
  EXPECT_TRUE(engine->ran().empty());
  EXPECT_THAT(server->MetricsText(), HasSubstr("longtake_refusals_total{reason=\"invalid\"} 21"));
}

TEST_F(EndToEnd, AcceptsWhatModelsThatCanAccept) {
  FakeEngineOptions options{.model = FakeModel()};
  options.model.accepts_negative_prompt = true;
  StartAndServe(options);
  v1::GenerateRequest request = Request(10.0625);
  request.set_negative_prompt("blur");
  request.clear_seed();
  request.mutable_size()->set_width(96);
  request.mutable_size()->set_height(64);
  const Video video = Generate(request);
  ASSERT_TRUE(video.status.ok()) << video.status.error_message();
  EXPECT_EQ(video.accepted().frames(), 161);
  EXPECT_EQ(video.accepted().size().width(), 96);
  // The seed that the server chose makes the same video again.
  request.set_seed(video.accepted().seed());
  EXPECT_EQ(Generate(request).bytes, video.bytes);
}

TEST_F(EndToEnd, CancellingFreesTheSlotWithinOnePass) {
  StartAndServe({.max_sessions = 1, .denoise = absl::Milliseconds(100)});
  std::optional<absl::Time> cancelled;
  const Video video = Generate(Request(10, 7), [&](const v1::GenerateEvent& event, grpc::ClientContext& context) {
    if (event.has_progress() && event.progress().stage() == v1::Progress::STAGE_DENOISE && !cancelled) {
      cancelled = absl::Now();
      context.TryCancel();
    }
  });
  EXPECT_EQ(video.status.error_code(), grpc::StatusCode::CANCELLED);
  Await([&] { return engine->open_sessions() == 0; }, "the slot");
  // The pass under way ends, 100 ms at most; scheduling takes the rest.
  EXPECT_LT(absl::Now() - *cancelled, absl::Milliseconds(200));
  const size_t passes = engine->ran().size();
  EXPECT_LE(passes, 3u);  // text, the pass that told, the one under way
  absl::SleepFor(absl::Milliseconds(150));
  EXPECT_EQ(engine->ran().size(), passes) << "work goes on without a client";
  EXPECT_TRUE(Generate(Request(1)).status.ok());
}

TEST_F(EndToEnd, ADeadlineFreesTheSlotToo) {
  StartAndServe({.max_sessions = 1, .denoise = absl::Milliseconds(50)});
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  auto reader = stub->Generate(&context, Request(10));
  v1::GenerateEvent event;
  while (reader->Read(&event)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  Await([&] { return engine->open_sessions() == 0; }, "the slot");
}

TEST_F(EndToEnd, AFullQueueIsRefusedWithTheTimeToTryAgain) {
  StartAndServe({.max_sessions = 1, .denoise = absl::Milliseconds(20)}, {.studio = {.max_waiting = 1}});
  std::thread first, second;
  Video waited;
  first = std::thread([&] { Generate(Request(3, 1)); });
  Await([&] { return engine->open_sessions() == 1; }, "the first video");
  second = std::thread([&] { waited = Generate(Request(1, 2)); });
  Await([&] { return absl::StrContains(server->MetricsText(), "longtake_queue_length 1"); }, "the queue");

  const Video refused = Generate(Request(1, 3));
  EXPECT_TRUE(refused.events.empty());
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(refused.status.error_details()));
  google::rpc::QuotaFailure quota;
  google::rpc::RetryInfo retry;
  v1::Refusal refusal;
  ASSERT_EQ(details.details_size(), 3);
  ASSERT_TRUE(details.details(0).UnpackTo(&quota));
  ASSERT_TRUE(details.details(1).UnpackTo(&retry));
  ASSERT_TRUE(details.details(2).UnpackTo(&refusal));
  EXPECT_EQ(refusal.reason(), v1::Refusal::REASON_QUEUE_FULL);
  EXPECT_EQ(refusal.quote().queue_length(), 1);
  EXPECT_FALSE(refusal.quote().admitted());
  EXPECT_EQ(quota.violations(0).subject(), "queue");
  EXPECT_GT(retry.retry_delay().seconds() * 1'000'000'000 + retry.retry_delay().nanos(), 0);

  first.join();
  second.join();
  ASSERT_TRUE(waited.status.ok());
  ASSERT_TRUE(waited.events[1].has_waiting());
  EXPECT_EQ(waited.events[1].waiting().position(), 1);
  EXPECT_GT(waited.finished().waited_seconds(), 0);
}

// Chunks of noise are far larger than what gRPC buffers for a client that does not read.
TEST_F(EndToEnd, AClientThatDoesNotReadHoldsBackOnlyItself) {
  FakeEngineOptions options{.model = FakeModel(), .noisy = true};
  options.model.sizes = {{320, 240}};
  StartAndServe(options);
  grpc::ClientContext context;
  grpc::ChannelArguments own_connection;  // another client
  own_connection.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto sleepers_stub = v1::LongtakeService::NewStub(grpc::CreateCustomChannel(
      absl::StrCat("127.0.0.1:", server->port()), grpc::InsecureChannelCredentials(), own_connection));
  auto sleeper = sleepers_stub->Generate(&context, Request(10, 1));
  const auto made_of = [&](uint64_t seed) {
    const std::vector<FakeEngine::Ran> ran = engine->ran();
    return std::count_if(ran.begin(), ran.end(), [&](const auto& pass) { return pass.seed == seed; });
  };
  // Parked for good once gRPC's buffers are full: no pass for two seconds, in which a busy machine encodes a chunk too.
  auto before = made_of(1);
  Await(
      [&] {
        absl::SleepFor(absl::Seconds(2));
        const auto last = std::exchange(before, made_of(1));
        return before > 0 && before == last;
      },
      "parking");
  EXPECT_THAT(server->MetricsText(), HasSubstr("longtake_sessions{state=\"parked\"} 1"));
  EXPECT_LT(before, 100) << "of 1 + 20 * 4 + 41 passes";
  EXPECT_TRUE(Generate(Request(2, 2)).status.ok());
  EXPECT_EQ(made_of(1), before) << "its passes went on";
  // It wakes up and loses nothing.
  v1::GenerateEvent event;
  int64_t frames = 0;
  while (sleeper->Read(&event)) {
    if (event.has_chunk() && event.chunk().last_part()) frames += event.chunk().frames();
  }
  EXPECT_TRUE(sleeper->Finish().ok());
  EXPECT_EQ(frames, 161);
}

TEST_F(EndToEnd, LargeChunksComeInParts) {
  StartAndServe({.noisy = true}, {.studio = {.max_part_bytes = 10'000}});
  const Video video = Generate(Request(1));
  ASSERT_TRUE(video.status.ok());
  int expected_part = 0;
  int64_t expected_index = 0;
  std::string bytes;
  for (const v1::Chunk* chunk : video.chunks()) {
    EXPECT_EQ(chunk->index(), expected_index);
    EXPECT_EQ(chunk->part(), expected_part);
    EXPECT_LE(chunk->data().size(), 10'000u);
    EXPECT_EQ(chunk->has_stages(), chunk->last_part());
    EXPECT_EQ(chunk->init_segment_bytes() > 0, expected_index == 0 && expected_part == 0);
    bytes += chunk->data();
    expected_part = chunk->last_part() ? 0 : expected_part + 1;
    expected_index += chunk->last_part() ? 1 : 0;
  }
  EXPECT_GT(video.chunks().size(), 5u);
  EXPECT_EQ(video.finished().chunks(), expected_index);
  // Cut differently, the same bytes.
  StartAndServe({.noisy = true});
  EXPECT_EQ(Generate(Request(1)).bytes, bytes);
}

TEST_F(EndToEnd, VideosMadeTogetherEqualThoseMadeAlone) {
  StartAndServe({.denoise = absl::Milliseconds(2), .decode = absl::Milliseconds(1)});
  constexpr int kVideos = 4;
  std::array<std::string, kVideos> alone, together;
  const auto request = [](int i) {
    v1::GenerateRequest request = Request(1 + 0.5 * i, 100 + i);
    if (i % 2 == 1) request.set_delivery(v1::DELIVERY_OFFLINE);
    return request;
  };
  for (int i = 0; i < kVideos; ++i) alone[i] = Generate(request(i)).bytes;
  std::vector<std::thread> threads;
  for (int i = 0; i < kVideos; ++i) {
    threads.emplace_back([&, i] { together[i] = Generate(request(i)).bytes; });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < kVideos; ++i) {
    EXPECT_FALSE(alone[i].empty());
    EXPECT_TRUE(alone[i] == together[i]) << "video " << i;
  }
  EXPECT_NE(alone[0].substr(0, 2000), alone[1].substr(0, 2000));
  EXPECT_EQ(engine->passes_out_of_order(), 0);
}

TEST_F(EndToEnd, AFailedPassEndsItsVideoAndNoOther) {
  StartAndServe({.denoise = absl::Milliseconds(5), .fail = [](const Pass& pass, const SessionSpec& spec) {
                   return pass.kind == PassKind::kCommit && spec.seed == 13
                              ? absl::DataLossError("not a number in block")
                              : absl::OkStatus();
                 }});
  Video good;
  std::thread other([&] { good = Generate(Request(2, 1)); });
  const Video bad = Generate(Request(2, 13));
  other.join();
  EXPECT_EQ(bad.status.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(bad.status.error_message(), "not a number in block");
  EXPECT_FALSE(bad.events.back().has_finished());
  EXPECT_TRUE(good.status.ok());
}

TEST_F(EndToEnd, ReadyOnlyWhenTheEngineIs) {
  Start();
  EXPECT_EQ(Health(), 2);
  EXPECT_EQ(Health("longtake.v1.LongtakeService"), 2);
  const Video early = Generate(Request(1));
  EXPECT_EQ(early.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(early.status.error_details()));
  EXPECT_TRUE(details.details(0).Is<google::rpc::RetryInfo>());
  Serve();
  EXPECT_EQ(Health(), 1);
  EXPECT_EQ(Health("longtake.v1.LongtakeService"), 1);
  EXPECT_TRUE(Generate(Request(1)).status.ok());
}

TEST_F(EndToEnd, ListsItsModel) {
  StartAndServe();
  grpc::ClientContext context;
  v1::ListModelsResponse response;
  ASSERT_TRUE(stub->ListModels(&context, {}, &response).ok());
  ASSERT_EQ(response.models_size(), 1);
  EXPECT_EQ(response.models(0).name(), "fake");
  EXPECT_EQ(response.models(0).sizes_size(), 2);
  EXPECT_DOUBLE_EQ(response.models(0).max_seconds(), 161.0 / 16);
  EXPECT_DOUBLE_EQ(response.models(0).block_seconds(), 0.5);
}

TEST_F(EndToEnd, ReflectionKnowsTheService) {
  StartAndServe();
  grpc::ClientContext context;
  const grpc::internal::RpcMethod method("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                         grpc::internal::RpcMethod::BIDI_STREAMING);
  std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> stream(
      grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(channel.get(), method,
                                                                                            &context));
  const grpc::Slice slice(std::string("\x3a\x01*", 3));  // list_services: "*"
  grpc::ByteBuffer answer;
  ASSERT_TRUE(stream->Write(grpc::ByteBuffer(&slice, 1)));
  ASSERT_TRUE(stream->Read(&answer));
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
  grpc::Slice flat;
  ASSERT_TRUE(answer.DumpToSingleSlice(&flat).ok());
  const std::string text(reinterpret_cast<const char*>(flat.begin()), flat.size());
  EXPECT_THAT(text, HasSubstr("longtake.v1.LongtakeService"));
  EXPECT_THAT(text, HasSubstr("grpc.health.v1.Health"));
}

TEST_F(EndToEnd, DrainingLetsVideosEndAndAdmitsNone) {
  StartAndServe({.max_sessions = 1, .denoise = absl::Milliseconds(20)});
  Video running, waiting;
  std::thread first([&] { running = Generate(Request(2, 1)); });
  Await([&] { return engine->open_sessions() == 1; }, "the first video");
  std::thread second([&] { waiting = Generate(Request(1, 2)); });
  Await([&] { return absl::StrContains(server->MetricsText(), "longtake_queue_length 1"); }, "the queue");
  std::thread drain([&] { server->Drain(); });
  second.join();
  EXPECT_EQ(waiting.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Health(), 2);
  EXPECT_EQ(Generate(Request(1, 3)).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  first.join();
  drain.join();
  EXPECT_TRUE(running.status.ok()) << running.status.error_message();
  EXPECT_EQ(running.finished().frames(), 33);
}

TEST_F(EndToEnd, ADrainThatTakesTooLongKeepsFinishedChunks) {
  StartAndServe({.denoise = absl::Milliseconds(40)}, {.drain = absl::Milliseconds(500)});
  Video cut;
  std::thread client([&] { cut = Generate(Request(10, 1)); });
  Await([&] { return engine->open_sessions() == 1; }, "the video");
  const absl::Time began = absl::Now();
  server->Drain();
  const absl::Duration took = absl::Now() - began;
  client.join();
  EXPECT_GE(took, absl::Milliseconds(500));
  EXPECT_LT(took, absl::Seconds(2));
  EXPECT_EQ(cut.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(cut.status.error_message(), HasSubstr("shutting down"));
  // Every block that was decoded whole has arrived: text, then 3 denoise, a commit and the decodes of a block.
  EXPECT_GE(cut.chunks().size(), 2u);
  int64_t frames = 0;
  for (const v1::Chunk* chunk : cut.chunks()) frames += chunk->frames();
  EXPECT_EQ(frames, 9 + 8 * (static_cast<int64_t>(cut.chunks().size()) - 1));
}

TEST_F(EndToEnd, CountsWhatItDoesAndNeverLogsPrompts) {
  logger.set_level(spdlog::level::trace);
  StartAndServe();
  ASSERT_TRUE(Generate(Request(1)).status.ok());
  v1::GenerateRequest refused = Request(1);
  refused.set_model("other");
  Generate(refused);
  Await([&] { return absl::StrContains(server->MetricsText(), "outcome=\"ok\"} 1"); }, "the end");
  const std::string text = server->MetricsText();
  // 1 s: 17 frames, 5 latent ones in blocks of 3 and 2.
  EXPECT_THAT(text, HasSubstr("longtake_pass_device_seconds_count{kind=\"denoise\"} 6"));
  EXPECT_THAT(text, HasSubstr("longtake_pass_device_seconds_count{kind=\"decode\"} 5"));
  EXPECT_THAT(text, HasSubstr("longtake_chunks_total 2"));
  EXPECT_THAT(text, HasSubstr("longtake_first_chunk_seconds_count 1"));
  EXPECT_THAT(text, HasSubstr("longtake_memory_planned_bytes{region=\"state\"} 4000"));
  EXPECT_THAT(text, HasSubstr("longtake_memory_used_bytes{region=\"state\"} 0"));
  server->Drain();
  EXPECT_THAT(log.str(), HasSubstr("video ended id=1 outcome=ok"));
  EXPECT_THAT(log.str(), testing::Not(HasSubstr("red ball")));
}

TEST_F(EndToEnd, ATakenAddressIsAnError) {
  StartAndServe();
  ServerOptions options;
  options.listen = absl::StrCat("127.0.0.1:", server->port());
  const auto second = Server::Start(options, &logger);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(options.listen));
}

}  // namespace
}  // namespace longtake::server
