// The files of a video in the store. The first line says which; the rest is its body, which gets a checksum that holds,
// for no mutation finds one. The other files are those of a video that is in order.
#include "server/video/stored_video.h"

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/crc32c.h"
#include "common/json_depth.h"
#include "server/grpc/status.h"
#include "server/grpc/translate.h"
#include "server/grpc/wire.h"
#include "server/http/video_json.h"
#include "server/video/hls_playlist.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/planning_engine.h"

namespace longtake::server {
namespace {

using fuzz::Check;

constexpr char kName[] = "videos/0123456789abcdef0123456789abcdef";

class MemoryStore : public Store {
 public:
  void Fence(const std::string&, uint64_t, Done) override {}
  void Put(std::vector<StoredFile> files, uint64_t /*token*/, Done) override {
    for (StoredFile& file : files) files_[file.name] = std::move(file.bytes);
  }
  void Remove(const std::string& name, uint64_t /*token*/, Done) override { files_.erase(name); }
  void AwaitIdle() override {}
  absl::StatusOr<std::string> Get(const std::string& name) const override {
    const auto found = files_.find(name);
    return found == files_.end() ? absl::StatusOr<std::string>(absl::NotFoundError(name)) : found->second;
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string&) const override {
    return std::vector<std::string>();
  }

 private:
  std::map<std::string, std::string> files_;
};

StoredVideo Right() {
  static const fuzz::PlanningEngine engine;
  const VideoSpec spec{.prompt = "a red ball", .duration = absl::Seconds(2)};
  StoredVideo video;
  video.info.name = kName;
  video.info.plan =
      std::make_shared<const VideoPlan>(*CheckRequest(spec, {}, {}, Purpose::kMake, engine, {}, /*fresh_seed=*/7));
  video.spec = spec;
  video.stream.init_segment = "init";
  return video;
}

// `body` in the form in which the store has it. What is no JSON stays as it is.
std::string FileOf(std::string_view body) {
  const nlohmann::json parsed = nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) return std::string(body);
  // Printing it would recurse as deep.
  if (JsonNestsDeeper(body, 1000)) return absl::StrCat(R"({"version":1,"crc32c":0,"body":)", std::string(body), "}");
  std::string text;
  try {
    text = parsed.dump();
  } catch (const nlohmann::json::exception&) {  // text that is no UTF-8
    return std::string(body);
  }
  const uint32_t sum = Crc32c(std::as_bytes(std::span(text)));
  return nlohmann::json({{"version", 1}, {"crc32c", sum}, {"body", parsed}}).dump();
}

// What a server does with a video that it finds in its store.
void UseVideo(const Store& store) {
  const absl::StatusOr<StoredVideo> video = ReadStoredVideo(store, kName);
  if (!video.ok()) return;
  const VideoPlan& plan = *video->info.plan;
  Check(plan.blocks() > 0 && plan.frames() > 0, "a video without frames");
  for (int block = 0; block < plan.blocks(); ++block) {
    const int prompt = plan.PromptAt(block);
    Check(prompt >= 0 && prompt < static_cast<int>(plan.prompts.size()), "a block has no prompt");
    Check(plan.BlockStart(block) < plan.BlockStart(block + 1), "a block takes no time");
  }
  (void)plan.BlockAt(absl::Seconds(1));
  for (const LogReach reach : {LogReach{}, LogReach{plan.blocks() - 1, 1}, LogReach{plan.blocks(), 0}}) {
    (void)HlsPlaylist(plan, {.reach = reach, .parts = HlsParts::Of(plan)});
  }
  (void)ToProto(video->info).SerializeAsString();
  (void)ToLine(ToJson(video->info));
  (void)ToProto(video->quote, plan.options.delivery);
  MemoryStore again;
  again.Put(FilesOf(*video, 0), 0, nullptr);
  Check(ReadStoredVideo(again, kName).ok(), "a video that was read is written as one that cannot be");
}

void UseBlock(const Store& store) {
  const ChunkLog::Serializer serializer = WireSerializer(kName, /*max_part_bytes=*/64);
  for (const bool with_media : {false, true}) {
    const absl::StatusOr<std::vector<Recorded>> events = ReadStoredBlock(store, kName, 0, with_media);
    if (!events.ok()) continue;
    for (const Recorded& each : *events) {
      Check(each.media_bytes >= 0, "a chunk of less than no bytes");
      Check(!with_media || static_cast<int64_t>(each.media.size()) == each.media_bytes, "a chunk lacks bytes");
      Check(!serializer(each.event, each.media.size(), 1).empty(), "an event has no message");
      (void)ToLine(ToJson(each.event, each.media.size(), Reader::kTenant));
    }
  }
}

void UseEnd(const Store& store) {
  const absl::StatusOr<StoredEnd> end = ReadStoredEnd(store, kName, *Right().info.plan);
  if (!end.ok()) return;
  Check(end->blocks >= 0 && end->size_bytes >= 0, "less than no blocks or bytes");
  Check(ToRpc(end->error).code() == static_cast<int>(end->error.code()), "an error has another code");
  (void)ToAnswer(end->error);
  (void)ToLine(ErrorJson(end->error));
  if (end->finished.has_value()) (void)ToProto(*end->finished).SerializeAsString();
}

void ReadFiles(const fuzz::Input& input) {
  static const std::vector<StoredFile> right = FilesOf(Right(), 0);
  const std::string name = kName, body = FileOf(input.rest);
  MemoryStore store;
  store.Put(right, 0, nullptr);
  if (input.kind == "video") store.Put({{name + "/video.json", body}}, 0, nullptr);
  if (input.kind == "prompts") store.Put({{name + "/prompts.json", body}}, 0, nullptr);
  if (input.kind == "block") {
    store.Put({{name + "/block-00000.json", body}, {name + "/block-00000.m4s", std::string(200, 'm')}}, 0, nullptr);
    UseBlock(store);
  }
  // So many lists in each other: as text it would be the largest input of all.
  if (int levels = 0;
      input.kind == "deep" && absl::SimpleAtoi(std::string(input.rest), &levels) && levels > 0 && levels < 100'000) {
    store.Put({{name + "/block-00000.json", FileOf(std::string(levels, '[') + std::string(levels, ']'))}}, 0, nullptr);
    UseBlock(store);
  }
  if (input.kind == "end") {
    store.Put({{name + "/end.json", body}}, 0, nullptr);
    UseEnd(store);
  }
  if (input.kind == "checkpoint") {
    store.Put({{name + "/checkpoint", std::string(input.rest)}}, 0, nullptr);
    const absl::StatusOr<StoredCheckpoint> checkpoint = ReadStoredCheckpoint(store, kName);
    Check(!checkpoint.ok() || checkpoint->blocks > 0, "a checkpoint behind no block");
  }
  if (input.kind == "video" || input.kind == "prompts") UseVideo(store);
}

}  // namespace
}  // namespace longtake::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  longtake::server::ReadFiles(longtake::fuzz::SplitKind(longtake::fuzz::ToText(data, size)));
  return 0;
}
