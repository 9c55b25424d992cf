// The whole server over real gRPC, with an engine that makes coloured frames.
#include <array>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {
namespace {

using testing::HasSubstr;

class EndToEnd : public ServerFixture {};

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
  const Watched video = Generate(Request(2));
  ASSERT_TRUE(video.status.ok()) << video.status.error_message();
  // 32 frames asked; 1 + 4 * 8 = 33 is nearest: 9 latent frames in blocks of 3, 2, 2, 2.
  const v1::VideoFormat& format = video.video().format();
  EXPECT_EQ(format.frame_count(), 33);
  EXPECT_DOUBLE_EQ(Seconds(format.duration()), 33.0 / 16);
  EXPECT_THAT(format.block_frame_counts(), testing::ElementsAre(9, 8, 8, 8));
  EXPECT_EQ(format.frame_rate().numerator(), 16);
  EXPECT_EQ(format.frame_rate().denominator(), 1);
  EXPECT_EQ(format.size().width(), 64);
  EXPECT_EQ(video.video().spec().seed(), 1);
  EXPECT_EQ(video.video().spec().model(), "models/fake");
  EXPECT_EQ(video.video().numerics_id(), "fake-1");
  EXPECT_THAT(video.video().name(), testing::MatchesRegex("videos/[0-9a-f]{32}"));
  // What comes after a progress event is what comes after the event before it.
  std::set<std::string> tokens;
  size_t lasting = 0;
  for (const v1::WatchVideoResponse& event : video.events) {
    tokens.insert(event.resume_token());
    lasting += event.has_progress() ? 0 : 1;
  }
  EXPECT_EQ(tokens.size(), lasting);
  EXPECT_EQ(tokens.count(""), 0u);

  ASSERT_TRUE(video.events[1].has_init_segment());
  EXPECT_THAT(video.accepted().media_type(), testing::MatchesRegex("video/mp4; codecs=\"avc1.[0-9A-F]{6}\""));
  // A latent frame is a chunk: of one frame, then of four each.
  int64_t next_frame = 0;
  const std::vector<const v1::Chunk*> chunks = video.chunks();
  ASSERT_EQ(chunks.size(), 9u);
  int block = 0, index = 0;
  for (const v1::Chunk* chunk : chunks) {
    EXPECT_EQ(chunk->block(), block);
    EXPECT_EQ(chunk->index(), index);
    EXPECT_EQ(chunk->starts_with_key_frame(), index == 0);
    EXPECT_EQ(chunk->part_count(), 1);
    EXPECT_EQ(chunk->size_bytes(), static_cast<int64_t>(chunk->data().size()));
    EXPECT_EQ(chunk->first_frame(), next_frame);
    EXPECT_DOUBLE_EQ(Seconds(chunk->pts_offset()), static_cast<double>(next_frame) / 16);
    EXPECT_EQ(chunk->frame_count(), next_frame == 0 ? 1 : 4);
    EXPECT_EQ(chunk->last_in_block(), index == (block == 0 ? 2 : 1));
    EXPECT_EQ(chunk->has_report(), chunk->last_in_block());
    next_frame += chunk->frame_count();
    ++index;
    if (!chunk->last_in_block()) continue;
    const v1::BlockReport& report = chunk->report();
    EXPECT_LE(Seconds(report.start_offset()), Seconds(report.denoise_offset()));
    EXPECT_LE(Seconds(report.denoise_offset()), Seconds(report.commit_offset()));
    EXPECT_LE(Seconds(report.commit_offset()), Seconds(report.decode_offset()));
    EXPECT_LE(Seconds(report.decode_offset()), Seconds(report.finish_offset()));
    EXPECT_GT(Seconds(report.stages().encode()), 0);
    ++block;
    index = 0;
  }
  ASSERT_TRUE(video.events.back().has_finished());
  EXPECT_EQ(video.finished().frame_count(), 33);
  EXPECT_EQ(video.finished().chunk_count(), 9);
  EXPECT_EQ(video.finished().size_bytes(), static_cast<int64_t>(video.bytes.size()));
  EXPECT_EQ(engine->passes_out_of_order(), 0);

  const std::string path = absl::StrCat(testing::TempDir(), "/end_to_end_", getpid(), ".mp4");
  std::ofstream(path, std::ios::binary) << video.bytes;
  EXPECT_EQ(
      Shell(absl::StrCat("ffprobe -v error -count_frames -show_entries stream=width,height,nb_read_frames -of csv=p=0 ",
                         path, " 2>&1")),
      "64,48,33\n");
  std::remove(path.c_str());
}

// The engine waits for the client to have what was made before, so a server that keeps chunks back stops it for good.
TEST_F(EndToEnd, ChunksAreSentWhileTheNextAreComputed) {
  std::atomic<int> chunks = 0, blocks = 0;  // that the client has
  StartAndServe({.delay = [&, denoised = 0, decoded = 0](const Pass& pass) mutable {
    if (HasFailure()) return absl::ZeroDuration();
    // The second chunk of the first block.
    if (pass.kind == PassKind::kDecode && decoded++ == 1) Await([&] { return chunks >= 1; }, "the first chunk");
    if (pass.kind != PassKind::kDenoise) return absl::ZeroDuration();
    // Three steps a block; before the last of them the client has the blocks before.
    const int block = denoised / 3, step = denoised % 3;
    ++denoised;
    if (step == 2) Await([&] { return blocks >= block; }, "the block before");
    return absl::ZeroDuration();
  }});
  const Watched video = Generate(Request(3), [&](const v1::WatchVideoResponse& event, grpc::ClientContext&) {
    if (!event.has_chunk()) return;
    ++chunks;
    if (event.chunk().last_in_block()) ++blocks;
  });
  ASSERT_TRUE(video.status.ok());
  EXPECT_EQ(BlocksOf(video).size(), 6u);
}

TEST_F(EndToEnd, RefusesBadRequestsNamingTheFields) {
  StartAndServe();
  struct Case {
    const char* name;
    std::function<void(v1::GenerateVideoRequest&)> change;
    std::vector<std::string> fields;
    std::string says;
  };
  const auto duration = [](auto& r) -> google::protobuf::Duration& { return *r.mutable_spec()->mutable_duration(); };
  const std::vector<Case> cases = {
      {"no prompt", [](auto& r) { r.mutable_spec()->clear_prompt(); }, {"spec.prompt"}, "empty"},
      {"blank prompt", [](auto& r) { r.mutable_spec()->set_prompt(" \n\t"); }, {"spec.prompt"}, "empty"},
      {"ideographic space", [](auto& r) { r.mutable_spec()->set_prompt("\u3000"); }, {"spec.prompt"}, "empty"},
      {"no-break space", [](auto& r) { r.mutable_spec()->set_prompt("\u00a0 "); }, {"spec.prompt"}, "empty"},
      {"zero width", [](auto& r) { r.mutable_spec()->set_prompt("\u200b"); }, {"spec.prompt"}, "empty"},
      {"zero", [](auto& r) { r.mutable_spec()->set_prompt(std::string(1, 0)); }, {"spec.prompt"}, "empty"},
      {"long prompt", [](auto& r) { r.mutable_spec()->set_prompt(std::string(4097, 'a')); }, {"spec.prompt"}, "4096"},
      {"negative prompt",
       [](auto& r) { r.mutable_spec()->set_negative_prompt("blur"); },
       {"spec.negative_prompt"},
       "guidance"},
      {"size",
       [](auto& r) {
         r.mutable_spec()->mutable_size()->set_width(64);
         r.mutable_spec()->mutable_size()->set_height(64);
       },
       {"spec.size"},
       "64x48, 96x64"},
      {"empty size", [](auto& r) { r.mutable_spec()->mutable_size(); }, {"spec.size"}, "0x0"},
      {"no spec", [](auto& r) { r.clear_spec(); }, {"spec.prompt", "spec.duration"}, "empty"},
      {"no duration", [](auto& r) { r.mutable_spec()->clear_duration(); }, {"spec.duration"}, "above 0"},
      {"negative duration", [&](auto& r) { duration(r) = ToProto(-1); }, {"spec.duration"}, "above 0"},
      {"mixed signs", [&](auto& r) { duration(r).set_nanos(-1); }, {"spec.duration"}, "no duration"},
      {"endless", [&](auto& r) { duration(r).set_seconds(INT64_MAX); }, {"spec.duration"}, "no duration"},
      {"too long", [&](auto& r) { duration(r) = ToProto(11); }, {"spec.duration"}, "10.0625"},
      {"negative seed", [](auto& r) { r.mutable_spec()->set_seed(-1); }, {"spec.seed"}, "chooses"},
      {"first image", [](auto& r) { r.mutable_spec()->set_first_image("png"); }, {"spec.first_image"}, "text"},
      {"large first image",
       [](auto& r) { r.mutable_spec()->set_first_image(std::string(5 << 20, 'a')); },
       {"spec.first_image"},
       "text"},
      {"other model", [](auto& r) { r.mutable_spec()->set_model("models/other"); }, {"spec.model"}, "models/fake"},
      {"decoder",
       [](auto& r) { r.mutable_spec()->set_decoder(v1::DECODER_TINY); },
       {"spec.decoder"},
       "no tiny decoder"},
      {"adapter",
       [](auto& r) { r.mutable_spec()->add_adapters()->set_name("x"); },
       {"spec.adapters[0].name"},
       "no adapters"},
      {"delivery",
       [](auto& r) { r.mutable_delivery_options()->set_delivery(static_cast<v1::Delivery>(9)); },
       {"delivery_options.delivery"},
       "9"},
      {"priority",
       [](auto& r) { r.mutable_delivery_options()->set_priority(-2147483647 - 1); },
       {"delivery_options.priority"},
       "-100 ... 100"},
      {"no wait",
       [](auto& r) { r.mutable_delivery_options()->mutable_max_wait_duration(); },
       {"delivery_options.max_wait_duration"},
       "above 0"},
      {"no lead",
       [](auto& r) { *r.mutable_delivery_options()->mutable_max_lead_duration() = ToProto(-1); },
       {"delivery_options.max_lead_duration"},
       "shorter than a block"},
      {"a lead of less than a block",
       [](auto& r) { *r.mutable_delivery_options()->mutable_max_lead_duration() = ToProto(0.4); },
       {"delivery_options.max_lead_duration"},
       "shorter than a block, 0.5"},
      {"fidelity",
       [](auto& r) { r.mutable_delivery_options()->set_fidelity(static_cast<v1::Fidelity>(7)); },
       {"delivery_options.fidelity"},
       "7"},
      {"disconnect",
       [](auto& r) { r.mutable_delivery_options()->set_disconnect_policy(static_cast<v1::DisconnectPolicy>(5)); },
       {"delivery_options.disconnect_policy"},
       "5"},
      {"reconnect",
       [](auto& r) { *r.mutable_delivery_options()->mutable_reconnect_timeout() = ToProto(-1); },
       {"delivery_options.reconnect_timeout"},
       "below 0"},
      {"two fields",
       [](auto& r) {
         r.mutable_spec()->clear_prompt();
         r.mutable_spec()->clear_duration();
       },
       {"spec.prompt", "spec.duration"},
       "spec.prompt"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    v1::GenerateVideoRequest request = Request(1);
    c.change(request);
    const Watched video = Generate(request);
    EXPECT_TRUE(video.events.empty());
    EXPECT_EQ(video.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(video.status.error_message(), HasSubstr(c.says));
    EXPECT_EQ(ReasonOf(video.status), "INVALID_REQUEST");
    const auto bad = DetailOf<google::rpc::BadRequest>(video.status);
    ASSERT_TRUE(bad.has_value());
    std::vector<std::string> fields;
    for (const auto& violation : bad->field_violations()) fields.push_back(violation.field());
    EXPECT_EQ(fields, c.fields);
  }
  EXPECT_TRUE(engine->ran().empty());
  EXPECT_THAT(server->MetricsText(), HasSubstr("longtake_refusals_total{reason=\"invalid_request\"} 31"));
}

TEST_F(EndToEnd, AcceptsWhatModelsThatCanAccept) {
  FakeEngineOptions options{.model = FakeModel()};
  options.model.accepts_negative_prompt = true;
  StartAndServe(options);
  v1::GenerateVideoRequest request = Request(10.0625);
  request.mutable_spec()->set_negative_prompt("blur");
  request.mutable_spec()->clear_seed();
  request.mutable_spec()->mutable_size()->set_width(96);
  request.mutable_spec()->mutable_size()->set_height(64);
  const Watched video = Generate(request);
  ASSERT_TRUE(video.status.ok()) << video.status.error_message();
  EXPECT_EQ(video.video().format().frame_count(), 161);
  EXPECT_EQ(video.video().format().size().width(), 96);
  // The seed that the server chose makes the same video again.
  request.mutable_spec()->set_seed(video.video().spec().seed());
  EXPECT_EQ(Generate(request).bytes, video.bytes);
}

TEST_F(EndToEnd, CancellingFreesTheSlotWithinOnePass) {
  StartAndServe({.max_sessions = 1, .delay = HoldBefore(PassKind::kDenoise, 2, "the end of the video")});
  std::string name;
  const Watched video =
      Generate(Request(10, 7), [&](const v1::WatchVideoResponse& event, grpc::ClientContext& context) {
        if (event.has_accepted()) name = event.accepted().video().name();
        if (event.has_progress() && event.progress().stage() == v1::Progress::STAGE_DENOISE) context.TryCancel();
      });
  EXPECT_EQ(video.status.error_code(), grpc::StatusCode::CANCELLED);
  // The second denoising pass is under way. A session whose prompt cannot be changed any more gets no further pass.
  Await(
      [&] {
        grpc::ClientContext context;
        v1::ChangePromptRequest request;
        request.set_name(name);
        request.mutable_change()->mutable_next_block();
        request.mutable_change()->set_prompt("a blue box");
        v1::ChangePromptResponse response;
        return ReasonOf(stub->ChangePrompt(&context, request, &response)) == "VIDEO_ENDED";
      },
      "the cancellation");
  EXPECT_EQ(PassesOf(7), 2) << "text and one denoising pass";
  go_on = true;
  Await([&] { return engine->open_sessions() == 0; }, "the slot");
  EXPECT_TRUE(Generate(Request(1)).status.ok());
  EXPECT_EQ(PassesOf(7), 3) << "work goes on without a client";
}

TEST_F(EndToEnd, ADeadlineFreesTheSlotToo) {
  StartAndServe({.max_sessions = 1, .denoise = absl::Milliseconds(50)});
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  auto reader = stub->GenerateVideo(&context, Request(10));
  v1::WatchVideoResponse event;
  while (reader->Read(&event)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  Await([&] { return engine->open_sessions() == 0; }, "the slot");
}

TEST_F(EndToEnd, AFullQueueIsRefusedWithTheTimeToTryAgain) {
  StartAndServe({.max_sessions = 1, .delay = HoldBefore(PassKind::kEncodePrompt, 1, "the refusal")},
                {.studio = {.max_waiting = 1}});
  std::thread first, second;
  Watched waited;
  std::atomic<bool> waits = false;
  first = std::thread([&] { Generate(Request(3, 1)); });
  Await([&] { return engine->open_sessions() == 1; }, "the first video");
  second = std::thread([&] {
    waited = Generate(Request(1, 2), [&](const v1::WatchVideoResponse& event, grpc::ClientContext&) {
      if (event.has_waiting()) waits = true;
    });
  });
  Await([&] { return waits.load(); }, "the queue");

  const Watched refused = Generate(Request(1, 3));
  EXPECT_TRUE(refused.events.empty());
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(refused.status), "QUEUE_FULL");
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(refused.status)->metadata().at("queue_length"), "1");
  const auto retry = DetailOf<google::rpc::RetryInfo>(refused.status);
  ASSERT_TRUE(retry.has_value());
  EXPECT_GE(Seconds(retry->retry_delay()), 1) << "no invitation to hammer";
  // For gRPC's own retries.
  const auto pushback = refused.trailers.find("grpc-retry-pushback-ms");
  ASSERT_NE(pushback, refused.trailers.end());
  EXPECT_NEAR(std::stod(pushback->second), 1000 * Seconds(retry->retry_delay()), 1);

  go_on = true;
  first.join();
  second.join();
  ASSERT_TRUE(waited.status.ok());
  ASSERT_TRUE(waited.events[2].has_waiting());
  EXPECT_EQ(waited.events[2].waiting().position(), 1);
  EXPECT_GT(Seconds(waited.finished().wait_duration()), 0);
}

// Chunks of noise are far larger than what gRPC buffers for a client that does not read.
TEST_F(EndToEnd, AClientThatDoesNotReadHoldsBackOnlyItself) {
  FakeEngineOptions options{.model = FakeModel(), .noisy = true};
  options.model.sizes = {{320, 240}};
  StartAndServe(options);
  grpc::ClientContext context;
  grpc::ChannelArguments own_connection;  // another client
  own_connection.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto sleepers_stub = v1::VideoService::NewStub(grpc::CreateCustomChannel(
      absl::StrCat("127.0.0.1:", server->port()), grpc::InsecureChannelCredentials(), own_connection));
  auto sleeper = sleepers_stub->GenerateVideo(&context, Request(10, 1));
  // Parked for good once gRPC's buffers are full. Before that it may be parked for a while, by an encoder or a
  // connection that a busy machine holds up, and goes on afterwards.
  int64_t before = 0;
  do {
    Await(
        [&] {
          if (PassesOf(1) >= 100) return true;
          const std::string text = server->MetricsText();
          return absl::StrContains(text, "longtake_sessions{state=\"asleep\"} 1") &&
                 absl::StrContains(text, "longtake_passes_in_flight 0");
        },
        "parking");
    before = PassesOf(1);
    ASSERT_LT(before, 100) << "of 1 + 20 * 4 + 41 passes";
    ASSERT_TRUE(Generate(Request(2, 2)).status.ok());
  } while (PassesOf(1) != before);
  // It wakes up and loses nothing.
  v1::WatchVideoResponse event;
  int64_t frames = 0;
  while (sleeper->Read(&event)) {
    if (event.has_chunk() && LastPart(event.chunk())) frames += event.chunk().frame_count();
  }
  EXPECT_TRUE(sleeper->Finish().ok());
  EXPECT_EQ(frames, 161);
}

TEST_F(EndToEnd, LargeChunksComeInParts) {
  StartAndServe({.noisy = true}, {.studio = {.max_part_bytes = 2'000}});
  const Watched video = Generate(Request(1));
  ASSERT_TRUE(video.status.ok());
  int expected_part = 0, chunks = 0;
  int64_t frames = 0;
  std::string bytes;
  for (const v1::Chunk* chunk : video.chunks()) {
    EXPECT_EQ(chunk->first_frame(), frames);
    EXPECT_EQ(chunk->part(), expected_part);
    EXPECT_LE(chunk->data().size(), 2'000u);
    EXPECT_EQ(chunk->has_report(), chunk->last_in_block() && LastPart(*chunk));
    bytes += chunk->data();
    ++expected_part;
    if (!LastPart(*chunk)) continue;
    EXPECT_EQ(static_cast<int64_t>(std::exchange(bytes, "").size()), chunk->size_bytes());
    frames += chunk->frame_count();
    expected_part = 0;
    ++chunks;
  }
  EXPECT_GT(video.chunks().size(), 15u);
  EXPECT_EQ(video.finished().chunk_count(), chunks);
  // Cut differently, the same bytes.
  StartAndServe({.noisy = true});
  EXPECT_EQ(Generate(Request(1)).bytes, video.bytes);
}

TEST_F(EndToEnd, VideosMadeTogetherEqualThoseMadeAlone) {
  StartAndServe({.denoise = absl::Milliseconds(2), .decode = absl::Milliseconds(1)});
  constexpr int kVideos = 4;
  std::array<std::string, kVideos> alone, together;
  const auto request = [](int i) {
    v1::GenerateVideoRequest request = Request(1 + 0.5 * i, 100 + i);
    if (i % 2 == 1) request.mutable_delivery_options()->set_delivery(v1::DELIVERY_OFFLINE);
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
  Watched good;
  std::thread other([&] { good = Generate(Request(2, 1)); });
  const Watched bad = Generate(Request(2, 13));
  other.join();
  EXPECT_EQ(bad.status.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(bad.status.error_message(), "not a number in block");
  EXPECT_EQ(ReasonOf(bad.status), "DEVICE_FAILED");
  EXPECT_FALSE(bad.events.back().has_finished());
  EXPECT_TRUE(good.status.ok());
}

TEST_F(EndToEnd, ListsItsModel) {
  StartAndServe();
  grpc::ClientContext context;
  v1::ListModelsResponse response;
  ASSERT_TRUE(models->ListModels(&context, {}, &response).ok());
  ASSERT_EQ(response.models_size(), 1);
  const v1::Model& listed = response.models(0);
  EXPECT_EQ(listed.name(), "models/fake");
  EXPECT_EQ(listed.sizes_size(), 2);
  EXPECT_DOUBLE_EQ(Seconds(listed.max_duration()), 161.0 / 16);
  EXPECT_DOUBLE_EQ(Seconds(listed.block_duration()), 0.5);
  EXPECT_EQ(listed.max_prompt_bytes(), 4096);
  EXPECT_EQ(listed.about(), FakeModel().about);
  EXPECT_EQ(std::vector<std::string>(listed.examples().begin(), listed.examples().end()), FakeModel().examples);

  v1::GetModelRequest request;
  request.set_name("models/fake");
  v1::Model model;
  grpc::ClientContext get;
  ASSERT_TRUE(models->GetModel(&get, request, &model).ok());
  EXPECT_EQ(model.SerializeAsString(), listed.SerializeAsString());
  request.set_name("models/other");
  grpc::ClientContext other;
  const grpc::Status none = models->GetModel(&other, request, &model);
  EXPECT_EQ(none.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOf(none), "MODEL_NOT_FOUND");
  EXPECT_EQ(DetailOf<google::rpc::ResourceInfo>(none)->resource_name(), "models/other");
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
  EXPECT_THAT(text, HasSubstr("longtake.v1.VideoService"));
  EXPECT_THAT(text, HasSubstr("grpc.health.v1.Health"));
}

TEST_F(EndToEnd, CountsWhatItDoesAndNeverLogsPrompts) {
  logger.set_level(spdlog::level::trace);
  StartAndServe();
  ASSERT_TRUE(Generate(Request(1)).status.ok());
  v1::GenerateVideoRequest refused = Request(1);
  refused.mutable_spec()->set_model("models/other");
  Generate(refused);
  // Chunks are counted behind their writes.
  for (const char* counted : {"outcome=\"ok\"} 1", "longtake_chunks_total 5", "longtake_first_chunk_seconds_count 1"}) {
    AwaitMetrics(counted);
  }
  const std::string text = server->MetricsText();
  // 1 s: 17 frames, 5 latent ones in blocks of 3 and 2.
  EXPECT_THAT(text, HasSubstr("longtake_pass_device_seconds_count{kind=\"denoise\"} 6"));
  EXPECT_THAT(text, HasSubstr("longtake_pass_device_seconds_count{kind=\"decode\"} 5"));
  EXPECT_THAT(text, HasSubstr("longtake_memory_planned_bytes{region=\"state\"} 4000"));
  EXPECT_THAT(text, HasSubstr("longtake_memory_used_bytes{region=\"state\"} 0"));
  Drain();
  EXPECT_THAT(LogText(), testing::ContainsRegex("video ended name=videos/[0-9a-f]* request_id=[0-9a-f]* outcome=ok"));
  EXPECT_THAT(LogText(), testing::Not(HasSubstr("red ball")));
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
