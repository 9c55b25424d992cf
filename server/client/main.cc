// longtake: the command line client.
#include <CLI/CLI.hpp>

#include "server/client/commands.h"

int main(int argc, char** argv) {
  CLI::App app("Makes videos from prompts on a longtake-server.", "longtake");
  app.require_subcommand(1);

  longtake::client::GenerateFlags generate;
  CLI::App* make = app.add_subcommand("generate", "Make a video and write it to a file while it arrives");
  make->add_option("prompt", generate.prompt, "What the video shows")->required();
  make->add_option("--seconds", generate.seconds, "Length of the video")->capture_default_str();
  make->add_option("--output,-o", generate.output, "MP4 file to write")->required();
  make->add_option("--seed", generate.seed, "Same seed, same video; without it the server chooses");
  make->add_option("--size", generate.size, "WIDTHxHEIGHT, one of the model's sizes");
  make->add_option("--negative-prompt", generate.negative_prompt, "What the video should not show");
  make->add_option("--first-image", generate.first_image, "PNG or JPEG of the first frame");
  make->add_flag("--offline", generate.offline, "Need not be made in real time");
  make->add_option("--server", generate.server, "Address of the server")->capture_default_str();
  make->add_flag("--json", generate.json, "Print a summary of all measured times as one line of JSON");
  make->add_flag("--quiet,-q", generate.quiet, "No progress");

  longtake::client::ModelsFlags models;
  CLI::App* list = app.add_subcommand("models", "List what the server can make");
  list->add_option("--server", models.server, "Address of the server")->capture_default_str();
  list->add_option("--wait", models.wait_seconds, "Seconds to wait for a server that is not ready yet")
      ->capture_default_str();
  list->add_flag("--json", models.json, "Print JSON");

  CLI11_PARSE(app, argc, argv);
  return *make ? longtake::client::Generate(generate) : longtake::client::Models(models);
}
