#include "server/video/stored_video.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/crc32c.h"
#include "common/json_depth.h"
#include "common/status_macros.h"
#include "server/video/error.h"
#include "server/video/hls_playlist.h"
#include "server/video/stored_faults.h"

using nlohmann::json;

// The library looks for these beside the types.
template <>
struct nlohmann::adl_serializer<absl::Duration> {
  // Nanoseconds, as on the wire; the infinite ones are the ends of 64 bits.
  static void to_json(json& out, absl::Duration duration) { out = absl::ToInt64Nanoseconds(duration); }
  static void from_json(const json& in, absl::Duration& duration) {
    const auto nanoseconds = in.get<int64_t>();
    duration = nanoseconds == INT64_MAX   ? absl::InfiniteDuration()
               : nanoseconds == INT64_MIN ? -absl::InfiniteDuration()
                                          : absl::Nanoseconds(nanoseconds);
  }
};

template <>
struct nlohmann::adl_serializer<absl::Time> {
  static void to_json(json& out, absl::Time time) { out = absl::ToUnixNanos(time); }
  static void from_json(const json& in, absl::Time& time) { time = absl::FromUnixNanos(in.get<int64_t>()); }
};

template <typename T>
struct nlohmann::adl_serializer<std::optional<T>> {
  static void to_json(json& out, const std::optional<T>& value) {
    if (value.has_value()) {
      out = *value;
    } else {
      out = nullptr;
    }
  }
  static void from_json(const json& in, std::optional<T>& value) {
    if (in.is_null()) {
      value.reset();
    } else {
      value = in.get<T>();
    }
  }
};

namespace longtake {
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Size, width, height)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(AdapterUse, name, strength, digest)
NLOHMANN_JSON_SERIALIZE_ENUM(DecoderKind, {{DecoderKind::kFull, "full"}, {DecoderKind::kTiny, "tiny"}})
// Without adapters, and with the full decoder, as it was before there were others, so that other releases read it.
inline void to_json(nlohmann::json& out, const SessionSpec& spec) {
  out = {{"size", spec.size}, {"latent_frames", spec.latent_frames}, {"seed", spec.seed}};
  if (!spec.adapters.empty()) out["adapters"] = spec.adapters;
  if (spec.decoder != DecoderKind::kFull) out["decoder"] = spec.decoder;
}
inline void from_json(const nlohmann::json& in, SessionSpec& spec) {
  in.at("size").get_to(spec.size);
  in.at("latent_frames").get_to(spec.latent_frames);
  in.at("seed").get_to(spec.seed);
  if (in.contains("adapters")) in.at("adapters").get_to(spec.adapters);
  spec.decoder = in.value("decoder", DecoderKind::kFull);
}
}  // namespace longtake

namespace longtake::media {
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(FrameRate, numerator, denominator)
}  // namespace longtake::media

namespace longtake::scheduler {
NLOHMANN_JSON_SERIALIZE_ENUM(Delivery, {{Delivery::kLive, "live"}, {Delivery::kOffline, "offline"}})
// Of an accepted request: its status says nothing.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Quote, first_chunk, last_chunk, start, confidence, waiting)
}  // namespace longtake::scheduler

namespace longtake::server {

NLOHMANN_JSON_SERIALIZE_ENUM(Fidelity, {{Fidelity::kFull, "full"}, {Fidelity::kAdaptive, "adaptive"}})
NLOHMANN_JSON_SERIALIZE_ENUM(Disconnect, {{Disconnect::kCancel, "cancel"},
                                          {Disconnect::kContinue, "continue"},
                                          {Disconnect::kPause, "pause"}})
NLOHMANN_JSON_SERIALIZE_ENUM(State,
                             {{State::kMade, "made"}, {State::kFailed, "failed"}, {State::kCancelled, "cancelled"}})
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PromptChange, prompt, at)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Adapter, name, strength)
// A plan's first_image is a file of its own, for its bytes are no text; the digest of the spec's stands beside it. The
// decoder is written only where it is not the full one.
inline void to_json(json& out, const VideoSpec& spec) {
  out = {{"prompt", spec.prompt},
         {"negative_prompt", spec.negative_prompt},
         {"seed", spec.seed},
         {"size", spec.size},
         {"duration", spec.duration},
         {"model", spec.model},
         {"prompt_changes", spec.prompt_changes},
         {"adapters", spec.adapters}};
  if (spec.decoder != DecoderKind::kFull) out["decoder"] = spec.decoder;
}
inline void from_json(const json& in, VideoSpec& spec) {
  in.at("prompt").get_to(spec.prompt);
  in.at("negative_prompt").get_to(spec.negative_prompt);
  in.at("seed").get_to(spec.seed);
  in.at("size").get_to(spec.size);
  in.at("duration").get_to(spec.duration);
  in.at("model").get_to(spec.model);
  in.at("prompt_changes").get_to(spec.prompt_changes);
  in.at("adapters").get_to(spec.adapters);
  spec.decoder = in.value("decoder", DecoderKind::kFull);
}
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ForkSpec, name, from_block, prompt, prompt_changes, duration)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DeliveryOptions, delivery, max_wait, max_lead, fidelity, priority, disconnect,
                                   reconnect_timeout)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(VideoPlan, spec, options, session, rate, block_latents, block_frames, block_starts,
                                   prompts, prompt_blocks)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Stages, text, denoise, commit, decode, encode)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(BlockReport, steps, prompt, seconds, stages, start, denoise, commit, decode, finish)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PromptTokens, given, used)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PromptChanged, prompt, block, pts, tokens)
// As a spec's, a chunk's decoder is written only where it is not the full one.
inline void to_json(json& nlohmann_json_j, const Chunk& nlohmann_json_t) {
  NLOHMANN_JSON_EXPAND(NLOHMANN_JSON_PASTE(NLOHMANN_JSON_TO, block, index, starts_with_key_frame, first_frame, frames,
                                           pts, duration, denoise_steps, prompt, report))
  if (nlohmann_json_t.decoder != DecoderKind::kFull) nlohmann_json_j["decoder"] = nlohmann_json_t.decoder;
}
inline void from_json(const json& nlohmann_json_j, Chunk& nlohmann_json_t) {
  NLOHMANN_JSON_EXPAND(NLOHMANN_JSON_PASTE(NLOHMANN_JSON_FROM, block, index, starts_with_key_frame, first_frame, frames,
                                           pts, duration, denoise_steps, prompt, report))
  nlohmann_json_t.decoder = nlohmann_json_j.value("decoder", DecoderKind::kFull);
  if (nlohmann_json_t.report.has_value()) nlohmann_json_t.report->decoder = nlohmann_json_t.decoder;
}
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Finished, frames, chunks, size_bytes, duration, waited, stages)

namespace {

constexpr int kVersion = 1;
// Of files whose checksum is another one than when they were written.
constexpr char kChanged[] = "its bytes have changed, the checksum differs";

std::string Path(const std::string& name, const std::string& file) { return absl::StrCat(name, "/", file); }
std::string BlockPath(const std::string& name, int block, const char* type) {
  return absl::StrFormat("%s/block-%05d.%s", name, block, type);
}

uint32_t Checksum(const std::string& text) { return Crc32c(std::as_bytes(std::span(text))); }

// Of a checkpoint, with the number of its blocks.
uint32_t ChecksumOf(int blocks, std::span<const std::byte> checkpoint) {
  return Crc32c(checkpoint, Checksum(absl::StrCat(blocks)));
}

StoredFile JsonFile(std::string path, const json& body) {
  const json file = {{"crc32c", Checksum(body.dump())}, {"version", kVersion}, {"body", body}};
  return {std::move(path), file.dump()};
}

absl::Status Damaged(const std::string& path, const std::string& what) {
  return absl::DataLossError(absl::StrCat("store: ", path, ": ", what));
}

// Of what the JSON library threw: its own words may quote the file, in which there are prompts.
std::string WordsOf(const json::exception& error) {
  if (const auto* parse = dynamic_cast<const json::parse_error*>(&error); parse != nullptr) {
    return absl::StrCat("it is no JSON from byte ", parse->byte, " on");
  }
  return absl::StrCat("a field is missing or of another type (JSON error ", error.id, ")");
}

// What `read` makes of the file's body. It may throw what the JSON library throws of a missing or wrong field.
template <typename Read>
auto ReadJson(const Store& store, const std::string& path, Read read) -> absl::StatusOr<decltype(read(json()))> {
  ASSIGN_OR_RETURN(const std::string text, store.Get(path));
  if (JsonNestsDeeper(text)) return Damaged(path, "it nests deeper than any that was written");
  try {
    const json file = json::parse(text);
    if (file.at("version") != kVersion) {
      return Damaged(path, absl::StrCat("version ", file.at("version").dump(), " is not known"));
    }
    const json& body = file.at("body");
    if (file.at("crc32c") != Checksum(body.dump())) return Damaged(path, kChanged);
    if (!HasWholeNumbers(body)) return Damaged(path, "a whole number has a fraction");
    return read(body);
  } catch (const json::exception& error) {
    return Damaged(path, WordsOf(error));
  }
}

// The file's bytes, if they have this checksum.
absl::StatusOr<std::string> ReadSummed(const Store& store, const std::string& path, std::optional<uint32_t> sum) {
  ASSIGN_OR_RETURN(std::string bytes, store.Get(path));
  if (sum.has_value() && *sum != Checksum(bytes)) return Damaged(path, kChanged);
  return bytes;
}

json ToJson(const absl::Status& error) {
  json out = {{"code", static_cast<int>(error.code())}, {"message", std::string(error.message())}};
  if (!error.ok()) {
    const ErrorDetails details = DetailsOf(error);
    out["reason"] = static_cast<int>(details.reason);
    out["metadata"] = details.metadata;
    out["resource"] = details.resource;
  }
  return out;
}

absl::Status ErrorFrom(const json& in) {
  const auto code = static_cast<absl::StatusCode>(in.at("code").get<int>());
  if (code == absl::StatusCode::kOk) return absl::OkStatus();
  return MakeError(code, in.at("message"),
                   {.reason = static_cast<Reason>(in.at("reason").get<int>()),
                    .metadata = in.at("metadata"),
                    .resource = in.at("resource")});
}

// Without Partial Segments: a file server holds back no request.
StoredFile IndexFile(const std::string& name, const VideoPlan& plan, int blocks, bool ended) {
  return {Path(name, "index.m3u8"), HlsPlaylist(plan, {.reach = {.blocks = blocks}, .ended = ended})};
}

json PromptsOf(const VideoPlan& plan) { return {{"prompts", plan.prompts}, {"prompt_blocks", plan.prompt_blocks}}; }

}  // namespace

std::vector<StoredFile> FilesOf(const StoredVideo& video, int blocks) {
  const VideoInfo& info = video.info;
  json body = {{"name", info.name},
               {"tenant", video.tenant.id},
               {"request_id", info.request_id},
               {"numerics_id", info.numerics_id},
               {"denoise_steps", info.denoise_steps},
               {"create_time", info.create_time},
               {"plan", *info.plan},
               {"spec", video.spec},
               {"options", video.options},
               {"fork", video.fork},
               {"quote", video.quote},
               {"elapsed", video.elapsed},
               {"model_digest", video.model_digest},
               {"media_type", video.stream.media_type},
               {"init_crc32c", Checksum(video.stream.init_segment)},
               {"first_image_crc32c", Checksum(info.plan->spec.first_image)},
               {"first_image_sent", video.spec.first_image}};
  std::vector<StoredFile> files;
  if (!info.plan->spec.first_image.empty()) {
    files.push_back({Path(info.name, "first_image"), info.plan->spec.first_image});
  }
  files.push_back({Path(info.name, "init.mp4"), video.stream.init_segment});
  files.push_back(IndexFile(info.name, *info.plan, blocks, false));
  files.push_back(JsonFile(Path(info.name, "video.json"), body));
  return files;
}

StoredFile PromptsFile(const std::string& name, const VideoPlan& plan) {
  return JsonFile(Path(name, "prompts.json"), PromptsOf(plan));
}

std::vector<StoredFile> BlockFiles(const std::string& name, const VideoPlan& plan, int block,
                                   const std::vector<Recorded>& events) {
  json list = json::array();
  std::string segment;
  bool whole = false;
  for (const Recorded& each : events) {
    json entry = {{"elapsed", each.event.elapsed}};
    if (const auto* chunk = std::get_if<Chunk>(&each.event.body); chunk != nullptr) {
      entry["chunk"] = *chunk;
      entry["bytes"] = each.media.size();
      segment += each.media;
      whole = chunk->last_in_block();
    } else {
      entry["prompt_changed"] = std::get<PromptChanged>(each.event.body);
    }
    list.push_back(std::move(entry));
  }
  const json body = {{"events", std::move(list)}, {"segment_crc32c", Checksum(segment)}};
  std::vector<StoredFile> files;
  files.push_back({BlockPath(name, block, "m4s"), std::move(segment)});
  files.push_back(JsonFile(BlockPath(name, block, "json"), body));
  if (whole) files.push_back(IndexFile(name, plan, block + 1, false));
  return files;
}

std::string CheckpointPath(const std::string& name) { return Path(name, "checkpoint"); }

StoredFile CheckpointFile(const std::string& name, int blocks, const std::vector<std::byte>& checkpoint) {
  StoredFile file{CheckpointPath(name),
                  json({{"version", kVersion}, {"blocks", blocks}, {"crc32c", ChecksumOf(blocks, checkpoint)}}).dump()};
  file.bytes.reserve(file.bytes.size() + 1 + checkpoint.size());
  file.bytes += '\n';
  file.bytes.append(reinterpret_cast<const char*>(checkpoint.data()), checkpoint.size());
  return file;
}

std::vector<StoredFile> EndFiles(const std::string& name, const VideoPlan& plan, const StoredEnd& end) {
  json body = {{"state", end.state},       {"error", ToJson(end.error)}, {"start_time", end.start_time},
               {"end_time", end.end_time}, {"blocks", end.blocks},       {"size_bytes", end.size_bytes}};
  if (end.finished.has_value()) {
    body["finished"] = std::get<Finished>(end.finished->body);
    body["elapsed"] = end.finished->elapsed;
  }
  return {IndexFile(name, plan, end.blocks, true), JsonFile(Path(name, "end.json"), body)};
}

bool HasEnded(const Store& store, const std::string& name) { return store.Get(Path(name, "end.json")).ok(); }

bool WasAccepted(const Store& store, const std::string& name) {
  const absl::StatusOr<std::vector<std::string>> files = store.List(name);
  return !files.ok() || std::find(files->begin(), files->end(), "video.json") != files->end();
}

int StoredBlocks(const Store& store, const std::string& name) {
  const absl::StatusOr<std::vector<std::string>> files = store.List(name);
  if (!files.ok()) return 0;
  return static_cast<int>(std::count_if(files->begin(), files->end(), [](const std::string& file) {
    return absl::StartsWith(file, "block-") && absl::EndsWith(file, ".json");
  }));
}

absl::StatusOr<StoredVideo> ReadStoredVideo(const Store& store, const std::string& name) {
  const std::string path = Path(name, "video.json");
  struct Sums {
    std::optional<uint32_t> init, image;  // stores of before have none
  } sums;
  ASSIGN_OR_RETURN(StoredVideo video, ReadJson(store, path, [&sums](const json& body) {
                     StoredVideo read;
                     read.info.name = body.at("name");
                     read.tenant.id = body.value("tenant", "");  // stores of before tenants have none
                     read.info.request_id = body.at("request_id");
                     read.info.numerics_id = body.at("numerics_id");
                     read.info.denoise_steps = body.at("denoise_steps");
                     read.info.create_time = body.at("create_time");
                     read.info.plan = std::make_shared<const VideoPlan>(body.at("plan").get<VideoPlan>());
                     read.spec = body.at("spec");
                     read.options = body.at("options");
                     read.fork = body.at("fork").get<std::optional<ForkSpec>>();
                     read.quote = body.at("quote");
                     read.elapsed = body.at("elapsed");
                     read.spec.first_image = body.value("first_image_sent", "");  // absent before there were any
                     read.model_digest = body.at("model_digest");
                     read.stream.media_type = body.at("media_type");
                     sums.init = body.value("init_crc32c", json()).get<std::optional<uint32_t>>();
                     sums.image = body.value("first_image_crc32c", json()).get<std::optional<uint32_t>>();
                     return read;
                   }));
  if (video.info.name != name) return Damaged(path, "it is of another video");
  ASSIGN_OR_RETURN(video.stream.init_segment, ReadSummed(store, Path(name, "init.mp4"), sums.init));
  VideoPlan plan = *video.info.plan;
  const absl::Status prompts = ReadJson(store, Path(name, "prompts.json"), [&plan](const json& body) {
                                 plan.prompts = body.at("prompts").get<std::vector<std::string>>();
                                 plan.prompt_blocks = body.at("prompt_blocks").get<std::vector<int>>();
                                 return true;
                               }).status();
  if (!prompts.ok() && !absl::IsNotFound(prompts)) return prompts;
  absl::StatusOr<std::string> image = ReadSummed(store, Path(name, "first_image"), sums.image);
  if (image.ok()) {
    plan.spec.first_image = *std::move(image);
  } else if (!absl::IsNotFound(image.status())) {
    return image.status();
  }
  if (const std::optional<std::string> fault = FaultOf(plan); fault.has_value()) return Damaged(path, *fault);
  video.stream.format = {
      .width = plan.session.size.width, .height = plan.session.size.height, .rate = plan.rate, .frames = plan.frames()};
  video.info.plan = std::make_shared<const VideoPlan>(std::move(plan));
  return video;
}

absl::StatusOr<StoredCheckpoint> ReadStoredCheckpoint(const Store& store, const std::string& name) {
  const std::string path = CheckpointPath(name);
  ASSIGN_OR_RETURN(const std::string file, store.Get(path));
  const size_t end = file.find('\n');
  if (end == std::string::npos) return Damaged(path, "it has no first line");
  if (JsonNestsDeeper(std::string_view(file).substr(0, end))) return Damaged(path, "its first line is none");
  try {
    const json line = json::parse(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(end));
    if (line.at("version") != kVersion) return Damaged(path, "its version is not known");
    const auto bytes = std::as_bytes(std::span(file)).subspan(end + 1);
    if (!HasWholeNumbers(line)) return Damaged(path, "a whole number has a fraction");
    const int blocks = line.at("blocks");
    if (blocks < 1) return Damaged(path, absl::StrCat("it is behind ", blocks, " blocks"));
    if (line.at("crc32c") != ChecksumOf(blocks, bytes)) return Damaged(path, kChanged);
    return StoredCheckpoint{blocks, {bytes.begin(), bytes.end()}};
  } catch (const json::exception& error) {
    return Damaged(path, WordsOf(error));
  }
}

absl::StatusOr<StoredEnd> ReadStoredEnd(const Store& store, const std::string& name, const VideoPlan& plan) {
  const std::string path = Path(name, "end.json");
  ASSIGN_OR_RETURN(StoredEnd read, ReadJson(store, path, [](const json& body) {
                     StoredEnd end;
                     end.state = body.at("state");
                     end.error = ErrorFrom(body.at("error"));
                     end.start_time = body.at("start_time");
                     end.end_time = body.at("end_time");
                     end.blocks = body.at("blocks");
                     end.size_bytes = body.at("size_bytes");
                     if (body.contains("finished"))
                       end.finished = {body.at("elapsed"), body.at("finished").get<Finished>()};
                     return end;
                   }));
  if (read.blocks < 0 || read.blocks > plan.blocks()) {
    return Damaged(path, absl::StrCat("it has ", read.blocks, " blocks of ", plan.blocks()));
  }
  if (read.size_bytes < 0) return Damaged(path, "its size is below 0");
  return read;
}

absl::StatusOr<std::vector<Recorded>> ReadStoredBlock(const Store& store, const std::string& name, int block,
                                                      bool with_media) {
  struct Read {
    std::vector<Recorded> events;
    uint32_t checksum = 0;
  };
  ASSIGN_OR_RETURN(Read read, ReadJson(store, BlockPath(name, block, "json"), [](const json& body) {
                     Read out;
                     out.checksum = body.at("segment_crc32c");
                     for (const json& entry : body.at("events")) {
                       Recorded event{.event = {.elapsed = entry.at("elapsed")}};
                       if (entry.contains("chunk")) {
                         event.event.body = entry.at("chunk").get<Chunk>();
                         event.media_bytes = entry.at("bytes");
                       } else {
                         event.event.body = entry.at("prompt_changed").get<PromptChanged>();
                       }
                       out.events.push_back(std::move(event));
                     }
                     return out;
                   }));
  int64_t bytes = 0;
  for (const Recorded& each : read.events) {
    if (!IsOfBlock(each, block)) {
      return Damaged(BlockPath(name, block, "json"), "it has a chunk that is none of this block");
    }
    bytes += each.media_bytes;
  }
  if (!with_media) return std::move(read.events);
  const std::string path = BlockPath(name, block, "m4s");
  ASSIGN_OR_RETURN(const std::string segment, store.Get(path));
  if (Checksum(segment) != read.checksum) return Damaged(path, kChanged);
  if (static_cast<int64_t>(segment.size()) != bytes) return Damaged(path, "it has other chunks than were written");
  size_t at = 0;
  for (Recorded& each : read.events) {
    each.media = segment.substr(at, each.media_bytes);
    at += each.media_bytes;
  }
  return std::move(read.events);
}

}  // namespace longtake::server
