#include "engine/models/text/caption.h"

#include <memory>
#include <string>
#include <vector>

#include "engine/models/text/unicode.h"
#include "engine/reference/reference_ops.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/tiny_gemma2.h"
#include "tests/engine/train_tokenizer.h"

namespace longtake {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

TEST(StripText, IsPythonsStripAndLower) {
  // Right-hand sides: text.strip().lower() of Python 3.11.
  const std::vector<std::pair<std::string, std::string>> table = {
      {"", ""},
      {" \t\n\v\f\r\x1c\x1d\x1e\x1f ", ""},
      {"\xc2\x85 A b \xc2\xa0\xe3\x80\x80", "a b"},
      {"\xe2\x80\x8b"
       "A",
       "\xe2\x80\x8b"
       "a"},  // a zero-width space is no white space
      {"\xc3\x9c"
       "BER \xc3\x89"
       "CLAIR",
       "\xc3\xbc"
       "ber \xc3\xa9"
       "clair"},
      {"\xce\x9f\xce\x94\xce\x9f\xce\xa3 \xce\xa3",
       "\xce\xbf\xce\xb4\xce\xbf\xcf\x82 \xcf\x83"},                               // a final sigma, and none
      {"\xc4\xb0", "i\xcc\x87"},                                                   // dotted I
      {"\xf0\x90\x90\x80 \xf0\x9f\x8e\x88", "\xf0\x90\x90\xa8 \xf0\x9f\x8e\x88"},  // Deseret, a balloon
  };
  for (const auto& [text, expected] : table) {
    const auto stripped = StripText(text, /*lower_case=*/true);
    ASSERT_TRUE(stripped.ok()) << stripped.status();
    EXPECT_EQ(*stripped, expected);
  }
  EXPECT_EQ(*StripText("  As It Is ", false), "As It Is");
  for (const char* bad : {"\xff", "a\xc3", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80"}) {
    EXPECT_THAT(std::string(StripText(bad, true).status().message()), HasSubstr("UTF-8"));
  }
}

class CaptionTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { tokenizer_bytes_ = new std::string(TrainTokenizer()); }
  static void TearDownTestSuite() { delete tokenizer_bytes_; }

  void SetUp() override {
    ASSERT_FALSE(tokenizer_bytes_->empty());
    folder_.Write("tokenizer/tokenizer.model", *tokenizer_bytes_);
    const auto config = TinyGemma2Config();
    WriteTinyGemma2(folder_, "text_encoder", config, TinyGemma2Weights(config, ""));
    settings_.caption_tokens = 40;
  }
  std::unique_ptr<CaptionEncoder> Load() {
    auto encoder = CaptionEncoder::Load(*ops_, folder_.path(), settings_, nullptr);
    EXPECT_TRUE(encoder.ok()) << encoder.status();
    return encoder.ok() ? *std::move(encoder) : nullptr;
  }
  std::vector<int32_t> Encode(const std::string& text) {
    const auto tokenizer = Tokenizer::Load(folder_.path() + "/tokenizer");
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return *tokenizer->Encode(text);
  }
  // `ids` padded with 0 to `rows`, or cut.
  static std::vector<int32_t> Padded(std::vector<int32_t> ids, size_t rows) {
    ids.resize(rows, 0);
    return ids;
  }

  static std::string* tokenizer_bytes_;
  TempFolder folder_;
  std::unique_ptr<Ops> ops_ = MakeReferenceOps();
  ModelSettings settings_;
};
std::string* CaptionTest::tokenizer_bytes_ = nullptr;

TEST_F(CaptionTest, TokensStartWithBosAndHaveNoEos) {
  const std::vector<int32_t> ids = Encode("the star is red");
  ASSERT_GT(ids.size(), 2u);
  EXPECT_EQ(ids[0], 2);
  EXPECT_THAT(std::vector<int32_t>(ids.begin() + 1, ids.end()), Each(::testing::Gt(3)));
  EXPECT_EQ(Encode(""), std::vector<int32_t>{2});
  // Control pieces in a prompt are text.
  EXPECT_THAT(Encode("<eos><bos>"), ::testing::Not(::testing::Contains(1)));
  // Characters that the model has not seen become their bytes, none of them unknown.
  EXPECT_THAT(Encode("\xf0\x9f\x8e\x88"), AllOf(::testing::SizeIs(5), ::testing::Not(::testing::Contains(3))));
}

TEST_F(CaptionTest, PromptsArePaddedAndNothingElseWithoutSettings) {
  const auto encoder = Load();
  ASSERT_NE(encoder, nullptr);
  const auto tokens = encoder->Tokenize("  The Star is red ");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  const std::vector<int32_t> ids = Encode("The Star is red");
  EXPECT_EQ(tokens->ids, Padded(ids, 40));
  EXPECT_EQ(tokens->length, static_cast<int64_t>(ids.size()));
  EXPECT_EQ(tokens->first_kept, 1);  // all positions
  EXPECT_EQ(tokens->kept(), 40);
  EXPECT_EQ(tokens->kept_valid(), tokens->length);
}

TEST_F(CaptionTest, PrefixScoreAndLowerCaseComeFromTheSettings) {
  settings_.prompt_prefix = "the boat moves over the meadow\nprompt: ";
  settings_.lower_case = true;
  settings_.motion_score = 10;
  const auto encoder = Load();
  ASSERT_NE(encoder, nullptr);
  const auto prefix = static_cast<int64_t>(Encode(settings_.prompt_prefix).size());
  const auto tokens = encoder->Tokenize(" A Red ball ");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  const std::vector<int32_t> ids = Encode(settings_.prompt_prefix + "a red ball  motion score: 10.");
  EXPECT_EQ(tokens->ids, Padded(ids, prefix + 40 - 2));
  EXPECT_EQ(tokens->first_kept, prefix - 1);
  EXPECT_EQ(tokens->kept(), 40);
  EXPECT_EQ(tokens->kept_valid(), 1 + static_cast<int64_t>(ids.size()) - (prefix - 1));
  // The negative prompt has neither.
  const auto negative = encoder->TokenizeNegative(" Blurry ");
  ASSERT_TRUE(negative.ok()) << negative.status();
  EXPECT_EQ(negative->ids, Padded(Encode("blurry"), 40));
  EXPECT_EQ(negative->kept_valid(), static_cast<int64_t>(Encode("blurry").size()));
  EXPECT_FALSE(encoder->Tokenize("\xff").ok());
}

TEST_F(CaptionTest, TheMotionScoreIsAppendedToTheStrippedPromptWhereTheSettingsSaySo) {
  settings_.motion_score = 10;
  settings_.strip_before_motion_score = true;
  const auto encoder = Load();
  ASSERT_NE(encoder, nullptr);
  EXPECT_EQ(encoder->Tokenize(" A red ball ")->ids, Padded(Encode("A red ball motion score: 10."), 40));
  EXPECT_EQ(encoder->Tokenize("  ")->ids, Padded(Encode(" motion score: 10."), 40));
}

// A prompt that is too long loses its end, and neither the prefix nor the motion score.
TEST_F(CaptionTest, LongPromptsAreCutInFrontOfTheMotionScore) {
  std::string much;
  for (int i = 0; i < 60; ++i) much += "ring star ";
  for (const bool scored : {false, true}) {
    settings_.prompt_prefix = "the boat moves over the meadow\nprompt: ";
    if (scored) settings_.motion_score = 10;
    const auto encoder = Load();
    ASSERT_NE(encoder, nullptr);
    const auto prefix = static_cast<int64_t>(Encode(settings_.prompt_prefix).size());
    const auto cut = encoder->Tokenize(much);
    ASSERT_TRUE(cut.ok()) << cut.status();
    std::vector<int32_t> suffix = Encode(" motion score: 10.");
    suffix.erase(suffix.begin());
    std::vector<int32_t> ids = Encode(settings_.prompt_prefix + much);
    ids.resize(prefix + 40 - 2 - (scored ? suffix.size() : 0));
    if (scored) ids.insert(ids.end(), suffix.begin(), suffix.end());
    EXPECT_EQ(cut->ids, ids);
    EXPECT_EQ(cut->length, prefix + 40 - 2);
    EXPECT_EQ(cut->kept_valid(), 40);
  }
  // A caption shorter than the score alone has a part of the score.
  settings_.prompt_prefix.clear();
  settings_.caption_tokens = 3;
  const auto encoder = Load();
  ASSERT_NE(encoder, nullptr);
  EXPECT_EQ(encoder->Tokenize(much)->ids, Padded(Encode(" motion score: 10."), 3));
}

TEST_F(CaptionTest, SaysHowManyTokensAPromptHasAndUses) {
  const auto counts = [&](const std::string& prompt) {
    const auto encoder = Load();
    const auto tokens = encoder->Tokenize(prompt);
    EXPECT_TRUE(tokens.ok()) << tokens.status();
    return std::pair(tokens->prompt_tokens, tokens->prompt_tokens_used);
  };
  const auto tokens_of = [&](const std::string& text) { return static_cast<int64_t>(Encode(text).size()) - 1; };
  const int64_t words = tokens_of("a red ball");
  EXPECT_EQ(counts("a red ball"), std::pair(words, words));
  EXPECT_EQ(counts(""), (std::pair<int64_t, int64_t>(0, 0)));
  // The same behind a prefix, whose last blank is a piece of its own or a part of the prompt's first one.
  settings_.prompt_prefix = "the boat moves over the meadow\nprompt: ";
  EXPECT_EQ(counts("ring star"), std::pair(tokens_of(" ring star"), tokens_of(" ring star")));
  EXPECT_EQ(counts("\xf0\x9f\x8e\x88"), (std::pair<int64_t, int64_t>(4, 4)));
  // Of a long one the caption holds all but the first token.
  std::string much;
  for (int i = 0; i < 60; ++i) much += " ring";
  EXPECT_EQ(counts(much.substr(1)), (std::pair<int64_t, int64_t>(tokens_of(much), 39)));
  settings_.motion_score = 10;
  EXPECT_EQ(counts(much.substr(1)), (std::pair<int64_t, int64_t>(tokens_of(much + " motion score: 10."), 39)));
}

TEST_F(CaptionTest, EncodesTheKeptRowsOfTheTextEncoder) {
  settings_.prompt_prefix = "the boat moves: ";
  const auto encoder = Load();
  ASSERT_NE(encoder, nullptr);
  const auto tokens = encoder->Tokenize("a red ball");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  const int64_t width = encoder->width(), valid = tokens->kept_valid();
  ASSERT_GT(valid, 2);
  const auto scratch = ops_->device().Allocate(encoder->ScratchBytes());
  const auto out = ops_->device().Allocate(encoder->caption_tokens() * width * sizeof(float));
  ASSERT_TRUE(
      encoder->Encode(*tokens, scratch->data(), MakeMat(out->data(), DType::kF32, encoder->caption_tokens(), width))
          .ok());
  // The same by hand over all rows, padding included.
  const auto rows = static_cast<int64_t>(tokens->ids.size());
  const auto all_scratch = ops_->device().Allocate(encoder->text_encoder().ScratchBytes(rows));
  const auto all = ops_->device().Allocate(rows * width * sizeof(float));
  const TextSequence sequence{.ids = tokens->ids, .length = tokens->length};
  ASSERT_TRUE(encoder->text_encoder()
                  .Forward({&sequence, 1}, all_scratch->data(), MakeMat(all->data(), DType::kF32, rows, width))
                  .ok());
  for (int64_t i = 0; i < valid; ++i) {
    const int64_t from = i == 0 ? 0 : tokens->first_kept + i - 1;
    for (int64_t j = 0; j < width; ++j) ASSERT_EQ(out->f32()[i * width + j], all->f32()[from * width + j]) << i;
  }
}

TEST_F(CaptionTest, RefusesFoldersByName) {
  const auto error = [&] {
    return std::string(CaptionEncoder::Load(*ops_, folder_.path(), settings_, nullptr).status().message());
  };
  folder_.Write("tokenizer/tokenizer_config.json", R"({"add_bos_token": false, "added_tokens_decoder": {}})");
  EXPECT_THAT(error(), AllOf(HasSubstr("tokenizer_config.json"), HasSubstr("'add_bos_token'")));
  folder_.Write("tokenizer/tokenizer_config.json", R"({"add_eos_token": true})");
  EXPECT_THAT(error(), AllOf(HasSubstr("tokenizer_config.json"), HasSubstr("'add_eos_token'")));
  folder_.Write("tokenizer/tokenizer_config.json", R"({"tokenizer_class": "GemmaTokenizer", "sp_model_kwargs": {}})");
  EXPECT_EQ(error(), "");
  auto config = TinyGemma2Config();
  config["vocab_size"] = 300;
  WriteTinyGemma2(folder_, "text_encoder", config, TinyGemma2Weights(config, ""));
  EXPECT_THAT(error(), AllOf(HasSubstr("text_encoder/config.json"), HasSubstr("'vocab_size' is 300")));
  for (const std::string& bytes : {std::string(), std::string("no model"), std::string(1000, '\0'),
                                   tokenizer_bytes_->substr(0, tokenizer_bytes_->size() / 2)}) {
    folder_.Write("tokenizer/tokenizer.model", bytes);
    EXPECT_THAT(error(), AllOf(HasSubstr("tokenizer/tokenizer.model"), HasSubstr("not a SentencePiece model")))
        << bytes.size();
  }
  folder_.Write("tokenizer/tokenizer.model", TrainTokenizer(/*bos=*/false));
  EXPECT_THAT(error(), AllOf(HasSubstr("tokenizer/tokenizer.model"), HasSubstr("beginning of a text")));
}

TEST_F(CaptionTest, ATokenizerWithoutPaddingTakesTheTextEncoders) {
  folder_.Write("tokenizer/tokenizer.model", TrainTokenizer(/*bos=*/true, /*pad=*/false));
  auto config = TinyGemma2Config();
  config["pad_token_id"] = 9;
  WriteTinyGemma2(folder_, "text_encoder", config, TinyGemma2Weights(config, ""));
  const auto encoder = Load();
  ASSERT_NE(encoder, nullptr);
  const auto tokens = encoder->Tokenize("a");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(tokens->ids.back(), 9);
}

}  // namespace
}  // namespace longtake
