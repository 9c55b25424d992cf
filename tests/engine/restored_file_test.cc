// A video saved at a block's boundary and finished by another process is the same MP4 file, byte for byte, as an
// undisturbed one's. The program is built twice: for the backends of the processor, and for cuda on its emulation.
#include <stdlib.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/engine.h"
#include "gtest/gtest.h"
#include "server/media/media.h"
#include "tests/engine/engine_driver.h"
#include "tests/engine/engine_mixes.h"
#include "tests/engine/read_file.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

const SessionSpec kSpec{{32, 32}, 3, 7};  // blocks of one latent frame
constexpr int kBlocks = 3;
constexpr size_t kLatentFrameBytes = size_t{16} * (32 / 16) * (32 / 16) * sizeof(float);
constexpr size_t kMaxHeaderBytes = 320;

// For the other process: the model folder, and "backend/type of numbers".
constexpr char kFolderVariable[] = "LONGTAKE_TEST_FOLDER", kNumericsVariable[] = "LONGTAKE_TEST_NUMERICS";

void WriteFile(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::string CheckpointPath(const std::string& folder, int block) { return absl::StrCat(folder, "/checkpoint_", block); }
std::string FilePath(const std::string& folder, int block) { return absl::StrCat(folder, "/rest_", block, ".mp4"); }

std::unique_ptr<Engine> Load(const std::string& folder, const std::string& numerics, int threads) {
  const std::vector<std::string> parts = absl::StrSplit(numerics, '/');
  auto engine = Engine::Load(
      {.model_dir = folder, .backend = parts[0], .dtype = parts[1], .threads = threads, .max_sessions = 1});
  EXPECT_TRUE(engine.ok()) << engine.status();
  return engine.ok() ? *std::move(engine) : nullptr;
}

media::Stream StreamOf(const Engine& engine) {
  const Size size = kSpec.size;
  return *media::DescribeStream({.width = size.width,
                                 .height = size.height,
                                 .rate = *media::FrameRateFrom(engine.model().fps),
                                 .frames = 1 + engine.model().frames_per_latent * (kSpec.latent_frames - 1)});
}

// Makes and encodes the session's next block: its chunk of the file.
std::string NextBlock(Engine& engine, SessionId id, const media::Stream& stream) {
  const auto run = [&](PassKind kind) {
    PassResult result = RunPass(engine, {.kind = kind, .session = id, .prompt = "a yellow star moves left"});
    EXPECT_TRUE(result.status.ok()) << result.status;
    return result.frames;
  };
  SessionProgress at = *engine.progress(id);
  if (!at.has_prompt) run(PassKind::kEncodePrompt);
  for (int step = 0; step < engine.model().denoise_steps; ++step) run(PassKind::kDenoise);
  run(PassKind::kCommit);
  std::string chunks;
  std::unique_ptr<media::BlockEncoder> encoder;
  for (at = *engine.progress(id); at.decoded_latents < at.committed_frames; at = *engine.progress(id)) {
    const DecodedFrames frames = run(PassKind::kDecode);
    if (encoder == nullptr) encoder = *media::BlockEncoder::Open(stream, frames.first_frame);
    const absl::StatusOr<media::Chunk> chunk = encoder->Encode(frames.bytes);
    EXPECT_TRUE(chunk.ok()) << chunk.status();
    if (chunk.ok()) chunks += chunk->bytes;
  }
  return chunks;
}

// What the other process does, for the checkpoint of each boundary: DISABLED keeps it from running by itself.
TEST(RestoredFileProcess, DISABLED_Finishes) {
  const std::string folder = std::getenv(kFolderVariable);
  const auto engine = Load(folder, std::getenv(kNumericsVariable), /*threads=*/1);
  ASSERT_NE(engine, nullptr);
  const media::Stream stream = StreamOf(*engine);
  for (int block = 1; block < kBlocks; ++block) {
    const std::string saved = ReadFile(CheckpointPath(folder, block));
    const auto* bytes = reinterpret_cast<const std::byte*>(saved.data());
    const SessionId id = *engine->OpenSession(kSpec);
    const PassResult restored =
        RunPass(*engine, {.kind = PassKind::kRestore, .session = id, .checkpoint = {bytes, bytes + saved.size()}});
    ASSERT_TRUE(restored.status.ok()) << restored.status;
    ASSERT_EQ(engine->progress(id)->block, block);
    std::string rest;
    for (int next = block; next < kBlocks; ++next) rest += NextBlock(*engine, id, stream);
    WriteFile(FilePath(folder, block), rest);
    engine->CloseSession(id);
  }
}

// Of a checkpoint behind `block` blocks, without its header: the state, the prompt in use, the latents so far.
size_t PlannedBytes(const Engine& engine, int block) {
  size_t bytes = block * kLatentFrameBytes;
  for (const MemoryRegion& region : engine.memory()) {
    if (region.name == "state" || region.name == "state_spare") bytes += region.planned_bytes;
    if (region.name == "prompt") bytes += region.planned_bytes / 2;  // half of it is for a prompt that waits
  }
  return bytes;
}

struct Case {
  std::string name, numerics, settings;
};

std::vector<Case> Cases() {
  const std::vector<std::pair<std::string, std::string>> settings = {
      {"Sum", ""}, {"Window", R"(,"state_window_blocks":1)"}, {"Guided", R"(,"guidance":2.0)"}};
  std::vector<Case> cases;
  for (const std::string& numerics : std::vector<std::string>(absl::StrSplit(LONGTAKE_TEST_NUMERICS, ' '))) {
    for (const auto& [name, more] : settings) {
      const std::vector<std::string> parts = absl::StrSplit(numerics, '/');
      cases.push_back({absl::StrCat(parts[0], "_", parts[1], "_", name), numerics,
                       absl::StrCat(R"({"sampler":"few_step","timesteps":[1000,500],"shift":1.0,"lower_case":true,)",
                                    R"("caption_tokens":28,"block_latent_frames":1,"sizes":["32x32"],)",
                                    R"("max_latent_frames":64)", more, "}")});
    }
  }
  return cases;
}

class RestoredFileTest : public ::testing::TestWithParam<Case> {};

TEST_P(RestoredFileTest, EqualsAnUndisturbedOne) {
  const TempFolder folder;
  const auto engine = Load(Variant(folder, GetParam().settings), GetParam().numerics, /*threads=*/2);
  ASSERT_NE(engine, nullptr);
  const media::Stream stream = StreamOf(*engine);
  // The file's length behind each block.
  std::vector<size_t> lengths = {stream.init_segment.size()};
  std::string file = stream.init_segment;
  const SessionId id = *engine->OpenSession(kSpec);
  for (int block = 1; block <= kBlocks; ++block) {
    file += NextBlock(*engine, id, stream);
    lengths.push_back(file.size());
    if (block == kBlocks) break;
    const PassResult saved = RunPass(*engine, {.kind = PassKind::kSave, .session = id});
    ASSERT_TRUE(saved.status.ok()) << saved.status;
    EXPECT_GT(saved.checkpoint.size(), PlannedBytes(*engine, block));
    EXPECT_LE(saved.checkpoint.size(), PlannedBytes(*engine, block) + kMaxHeaderBytes);
    EXPECT_LE(saved.checkpoint.size(), engine->model().max_checkpoint_bytes);
    WriteFile(CheckpointPath(folder.path(), block),
              {reinterpret_cast<const char*>(saved.checkpoint.data()), saved.checkpoint.size()});
  }
  ASSERT_EQ(engine->progress(id)->blocks, kBlocks);
  engine->CloseSession(id);

  ASSERT_EQ(setenv(kFolderVariable, folder.path().c_str(), 1), 0);
  ASSERT_EQ(setenv(kNumericsVariable, GetParam().numerics.c_str(), 1), 0);
  const std::string program = std::filesystem::read_symlink("/proc/self/exe");
  const int status = std::system(absl::StrCat(program,
                                              " --gtest_filter=RestoredFileProcess.DISABLED_Finishes"
                                              " --gtest_also_run_disabled_tests > ",
                                              folder.path(), "/log 2>&1")
                                     .c_str());
  ASSERT_EQ(status, 0) << ReadFile(folder.path() + "/log");
  for (int block = 1; block < kBlocks; ++block) {
    EXPECT_TRUE(file.substr(0, lengths[block]) + ReadFile(FilePath(folder.path(), block)) == file)
        << "restored behind block " << block;
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, RestoredFileTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace longtake
