// Packed weights that are kept between loads: the same frames, files that belong to the weights they were made of, and
// nothing that is wrong with them keeps a model from loading.
#include "engine/models/folder/packed_cache.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "engine/cpu/cpu_ops.h"
#include "engine/engine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/bundled_parts.h"
#include "tests/engine/engine_driver.h"
#include "tests/engine/read_file.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr const char* kParts[] = {"text_encoder", "tiny_decoder", "transformer", "vae"};
constexpr size_t kFiles = std::size(kParts);

class PackedCacheTest : public ::testing::Test {
 protected:
  void SetUp() override { fs::copy(kBundled, model_.path(), fs::copy_options::recursive); }

  // Loads the model with the cache in `folder`, keeps the lines that the cache logs, and makes a second of video.
  std::vector<uint8_t> Frames(const std::string& folder, const std::string& backend = "cpu") {
    lines_.clear();
    maps_.clear();
    EngineOptions options;
    options.model_dir = model_.path();
    options.weight_cache_dir = folder;
    options.backend = backend;
    options.threads = 2;
    options.max_sessions = 1;
    options.log = [this](const std::string& line) {
      if (absl::StartsWith(line, "weight cache: ")) lines_.push_back(line);
    };
    const auto engine = Engine::Load(options);
    EXPECT_TRUE(engine.ok()) << engine.status();
    if (!engine.ok()) return {};
    maps_ = ReadFile("/proc/self/maps");
    if (backend == "reference") return {};  // it would take minutes
    const SessionSpec spec{.size = (*engine)->model().sizes.front(), .latent_frames = 5, .seed = 7};
    return RunJobs(**engine, {{.spec = spec, .prompt = "a red ball moves right"}}, /*activity=*/1, /*mix_seed=*/1)[0]
        .bytes;
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(cache_.path())) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    return files;
  }
  std::string File(const std::string& part) const {
    for (const std::string& file : Files()) {
      if (absl::StartsWith(fs::path(file).filename().string(), part)) return file;
    }
    ADD_FAILURE() << "no file of " << part;
    return "";
  }
  bool Mapped(const std::string& file) const { return absl::StrContains(maps_, file); }

  TempFolder model_, cache_;
  std::vector<std::string> lines_;
  std::string maps_;  // of the process, when the engine had been loaded
};

TEST_F(PackedCacheTest, TheSecondLoadMapsWhatTheFirstHasWritten) {
  const std::vector<uint8_t> frames = Frames("");
  ASSERT_FALSE(frames.empty());
  EXPECT_THAT(lines_, IsEmpty());

  EXPECT_TRUE(Frames(cache_.path()) == frames);
  EXPECT_THAT(lines_, AllOf(SizeIs(kFiles), Each(HasSubstr("wrote "))));
  const std::vector<std::string> files = Files();
  EXPECT_THAT(files, AllOf(SizeIs(kFiles), Each(EndsWith(".safetensors"))));
  for (const char* part : kParts) EXPECT_FALSE(Mapped(File(part))) << part;

  EXPECT_TRUE(Frames(cache_.path()) == frames);
  EXPECT_THAT(lines_, AllOf(SizeIs(kFiles), Each(HasSubstr("uses "))));
  EXPECT_EQ(Files(), files);
  for (const char* part : kParts) EXPECT_TRUE(Mapped(File(part))) << part;
}

TEST_F(PackedCacheTest, OtherWeightsHaveOtherFiles) {
  Frames(cache_.path());
  const std::vector<std::string> before = Files();
  const fs::path weights = fs::path(model_.path()) / "transformer" / "diffusion_pytorch_model.safetensors";
  fs::last_write_time(weights, fs::last_write_time(weights) + std::chrono::seconds(1));
  Frames(cache_.path());
  EXPECT_THAT(lines_, Contains(HasSubstr("wrote ")).Times(1));
  EXPECT_THAT(Files(), SizeIs(kFiles + 1));
  for (const std::string& file : before) {
    EXPECT_EQ(Mapped(file), !absl::StrContains(file, "/transformer-")) << file;
  }
}

TEST_F(PackedCacheTest, AFileThatCannotBeUsedIsReplaced) {
  const std::vector<uint8_t> frames = Frames(cache_.path());
  const std::string file = File("transformer"), whole = ReadFile(file);
  const auto replaced = [&](const std::string& needle, const std::string& by) {
    EXPECT_TRUE(absl::StrContains(whole, needle));
    return absl::StrReplaceAll(whole, {{needle, by}});
  };
  const std::string damaged[] = {
      "",
      whole.substr(0, 100),
      whole.substr(0, whole.size() - 64),
      replaced("cpu, panels", "cpu, planks"),
      replaced("\"U8\"", "\"U9\""),
      replaced("\"proj_out 0", "\"proj_out_0"),
  };
  for (const std::string& bytes : damaged) {
    fs::remove(file);
    std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    EXPECT_TRUE(Frames(cache_.path()) == frames);
    EXPECT_THAT(lines_, Contains(AllOf(HasSubstr(file), Not(HasSubstr("uses "))))) << bytes.size();
    if (!fs::exists(file)) Frames(cache_.path());  // a name was missing: the next load writes the file
    EXPECT_TRUE(ReadFile(file) == whole);
  }
}

TEST_F(PackedCacheTest, NothingIsWrongWithAFolderThatCannotBeWritten) {
  const std::vector<uint8_t> frames = Frames("");
  EXPECT_TRUE(Frames(cache_.path() + "/missing") == frames);
  EXPECT_THAT(lines_, AllOf(SizeIs(kFiles), Each(HasSubstr("/missing: no file can be made in it"))));
}

// A limit on the sizes of files stands for a disk that fills up. Its signal would end the process.
TEST_F(PackedCacheTest, ADiskThatFillsUpLeavesNoFile) {
  const std::vector<uint8_t> frames = Frames("");
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit limit{.rlim_cur = 4 << 20, .rlim_max = before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  EXPECT_TRUE(Frames(cache_.path()) == frames);
  EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(lines_, Contains(AllOf(HasSubstr("/transformer-"), HasSubstr("cannot be written"))));
  for (const std::string& file : Files()) EXPECT_FALSE(absl::StrContains(file, "/transformer-")) << file;
}

TEST_F(PackedCacheTest, TheReferenceBackendKeepsNothing) {
  Frames(cache_.path(), "reference");
  EXPECT_THAT(lines_, IsEmpty());
  EXPECT_THAT(Files(), IsEmpty());
}

// Copies of a kernel's blocks as a file has them.
std::vector<PackedBlock> Padded(std::span<const std::span<const std::byte>> blocks) {
  std::vector<PackedBlock> padded;
  for (const std::span<const std::byte> block : blocks) {
    const size_t size = (block.size() + kBlockAlignment - 1) / kBlockAlignment * kBlockAlignment;
    const std::align_val_t alignment{kBlockAlignment};
    std::shared_ptr<std::byte> copy(static_cast<std::byte*>(operator new(size, alignment)),
                                    [alignment](std::byte* p) { operator delete(p, alignment); });
    std::memset(copy.get(), 0, size);
    std::memcpy(copy.get(), block.data(), block.size());
    padded.push_back({{copy.get(), size}, copy});
  }
  return padded;
}

class RestoredKernelTest : public ::testing::TestWithParam<const char*> {};

TEST_P(RestoredKernelTest, HasTheBlocksOfTheOneThatWasPacked) {
  const auto ops = MakeCpuOps({.threads = 1, .dtype = GetParam()});
  if (!ops.ok()) GTEST_SKIP() << ops.status();
  WeightPacker& packer = (*ops)->weights();
  std::vector<float> values(3 * 70 * 90);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 7919 % 1000) / 500.f - 1.f;
  const auto tensor = [&](std::vector<int64_t> shape) {
    return HostTensor{values.data(), DType::kF32, std::move(shape)};
  };
  const HostTensor weight = tensor({70, 90}), taps = tensor({70, 90, 3}), bias = tensor({70}),
                   depthwise = tensor({70, 1, 3, 3});
  const KernelShape plain{.outputs = 70, .inputs = 90, .low_precision = true},
      temporal{.outputs = 70, .inputs = 90, .kt = 3}, channels{.outputs = 70, .inputs = 1, .kh = 3, .kw = 3};
  struct Case {
    PackedForm form;
    KernelShape shape;
    std::unique_ptr<PackedKernel> packed;
  } cases[] = {{PackedForm::kPlain, plain, packer.Pack(plain, {&weight, 1}, {&bias, 1})},
               {PackedForm::kPlain, temporal, packer.Pack(temporal, {&taps, 1}, {})},
               {PackedForm::kGated, plain, packer.PackGated(plain, weight, weight)},
               {PackedForm::kDepthwise, channels, packer.PackDepthwise(depthwise, bias)}};
  for (const Case& c : cases) {
    std::vector<PackedBlock> blocks = Padded(c.packed->blocks());
    ASSERT_FALSE(blocks.empty());
    const auto restored = packer.Restore(c.form, c.shape, blocks);
    ASSERT_NE(restored, nullptr);
    EXPECT_EQ(restored->bytes(), c.packed->bytes());
    const auto expected = c.packed->blocks(), found = restored->blocks();
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_TRUE(std::ranges::equal(found[i], expected[i]));
      EXPECT_EQ(found[i].data(), blocks[i].bytes.data());  // in place
    }
    for (PackedBlock& block : blocks) {
      const std::span<const std::byte> right = std::exchange(block.bytes, block.bytes.first(0));
      EXPECT_EQ(packer.Restore(c.form, c.shape, blocks), nullptr);
      block.bytes = right;
    }
    blocks.pop_back();
    EXPECT_EQ(packer.Restore(c.form, c.shape, blocks), nullptr);
  }

  const EmbeddingTable table = packer.PackEmbedding(weight);
  const std::span<const std::byte> rows(static_cast<const std::byte*>(table.data->data()), table.data->size());
  const PackedBlock block = Padded({&rows, 1})[0];
  const EmbeddingTable restored = packer.RestoreEmbedding(70, 90, block);
  ASSERT_NE(restored.data, nullptr);
  EXPECT_EQ(std::memcmp(restored.data->data(), rows.data(), rows.size()), 0);
  EXPECT_EQ(packer.RestoreEmbedding(71, 90, block).data, nullptr);
}

INSTANTIATE_TEST_SUITE_P(Types, RestoredKernelTest, ::testing::Values("float32", "bfloat16", "int8"),
                         [](const auto& info) { return std::string(info.param); });

// It is of one type and instruction set: another layout, other files.
TEST(PackedLayout, TellsTypesApart) {
  const auto exact = MakeCpuOps({.threads = 1, .dtype = "float32"});
  ASSERT_TRUE(exact.ok()) << exact.status();
  EXPECT_FALSE((*exact)->weights().layout().empty());
  for (const char* dtype : {"bfloat16", "int8"}) {
    const auto other = MakeCpuOps({.threads = 1, .dtype = dtype});
    if (other.ok()) {
      EXPECT_NE((*other)->weights().layout(), (*exact)->weights().layout()) << dtype;
    }
  }
}

}  // namespace
}  // namespace longtake
