// Files in the safetensors format: reading, writing, and saving and loading a model. Needs nlohmann/json; nothing of
// the core includes it.
#pragma once

#include "moe/io/model_file.hpp"
#include "moe/io/safetensors_reader.hpp"
#include "moe/io/safetensors_writer.hpp"
