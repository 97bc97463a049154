// Implements open_idx of runtime/data/formats.h.
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/data/data_file.h"
#include "runtime/data/formats.h"
#include "runtime/data/idx_file.h"

namespace ballast {
namespace {

/// Images with their labels, in memory: pixels[image][row][column][channel].
struct LabelledImages {
  std::vector<std::uint8_t> pixels, labels;
  std::string fingerprint;
};

class IdxImages final : public Dataset {
 public:
  IdxImages(LabelledImages images, std::int64_t pixels_per_image)
      : images_(std::move(images)), pixels_per_image_(static_cast<std::size_t>(pixels_per_image)) {
    for (std::size_t x = 0; x < scaled_.size(); ++x) scaled_[x] = static_cast<float>(x) / 127.5F - 1.0F;
  }

  [[nodiscard]] std::int64_t size() const override { return static_cast<std::int64_t>(images_.labels.size()); }
  [[nodiscard]] std::string fingerprint() const override { return images_.fingerprint + ":" + std::to_string(size()); }

  void read(std::span<const std::int64_t> indices, Samples& out) const override {
    out.tokens.clear();
    out.features.resize(indices.size() * pixels_per_image_);
    out.targets.resize(indices.size());
    for (std::size_t i = 0; i < indices.size(); ++i) {
      require(indices[i] >= 0 && indices[i] < size(), "sample index outside the data set");
      const auto index = static_cast<std::size_t>(indices[i]);
      out.targets[i] = images_.labels[index];
      std::transform(images_.pixels.begin() + index * pixels_per_image_,
                     images_.pixels.begin() + (index + 1) * pixels_per_image_,
                     out.features.begin() + i * pixels_per_image_, [this](std::uint8_t x) { return scaled_[x]; });
    }
  }

 private:
  LabelledImages images_;
  std::size_t pixels_per_image_;
  std::array<float, 256> scaled_{};
};

std::string labels_beside(const std::string& images, const char* key) {
  const std::string from = "images-idx3";
  const std::size_t at = images.rfind(from);
  if (at == std::string::npos) {
    throw ConfigError(std::string("data.") + key + " is missing, and the name " + images +
                      " has no \"images-idx3\" to find the labels by: give the path of the labels");
  }
  std::string path = std::string(images).replace(at, from.size(), "labels-idx1");
  if (::access(path.c_str(), F_OK) == 0) return path;
  const std::string other = path.ends_with(".gz") ? path.substr(0, path.size() - 3) : path + ".gz";
  return ::access(other.c_str(), F_OK) == 0 ? other : path;
}

/// A flat model takes images of any shape with as many pixels; rows x columns are images of one channel.
bool fits(const Shape& image, const Shape& sample) {
  if (sample.rank() == 1) return image.elements() == sample[0];
  if (image.rank() == 3) return image == sample;
  return image.rank() == 2 && sample == Shape{image[0], image[1], 1};
}

void check_shape(const std::string& path, const IdxFile& images, const InputSpec& input) {
  const Shape image(std::vector<std::int64_t>(images.dims.begin() + 1, images.dims.end()));
  if (fits(image, input.sample)) return;
  throw ConfigError(path + " holds images of shape " + image.to_string() + ", but the model takes " +
                    input.sample.to_string() +
                    ": set model.features, or model.image_rows, image_columns and image_channels, to fit");
}

LabelledImages load(const std::string& path, std::string labels_path, const char* labels_key, const InputSpec& input) {
  IdxFile images = load_idx(path, 3, 4);
  check_shape(path, images, input);
  if (labels_path.empty()) labels_path = labels_beside(path, labels_key);
  IdxFile labels = load_idx(labels_path, 1, 1);
  if (labels.dims[0] != images.dims[0]) {
    throw data_error(labels_path, 4,
                     std::to_string(labels.dims[0]) + " labels, but " + path + " holds " +
                         std::to_string(images.dims[0]) + " images. Give the files of one data set");
  }
  for (std::size_t i = 0; i < labels.elements.size(); ++i) {
    if (labels.elements[i] >= input.classes) {
      throw data_error(labels_path, labels.header_bytes + static_cast<std::int64_t>(i),
                       "label " + std::to_string(labels.elements[i]) + " of image " + std::to_string(i) +
                           " is outside 0.." + std::to_string(input.classes - 1) +
                           ". Raise model.classes, or mend the file");
    }
  }
  return {std::move(images.elements), std::move(labels.elements), images.fingerprint + ":" + labels.fingerprint};
}

/// Cuts the last `count` images off.
LabelledImages split_tail(LabelledImages& images, std::int64_t count, std::int64_t pixels_per_image) {
  const auto label_cut = images.labels.end() - count;
  const auto pixel_cut = images.pixels.end() - count * pixels_per_image;
  LabelledImages tail{{pixel_cut, images.pixels.end()}, {label_cut, images.labels.end()}, images.fingerprint};
  images.labels.erase(label_cut, images.labels.end());
  images.pixels.erase(pixel_cut, images.pixels.end());
  images.pixels.shrink_to_fit();
  return tail;
}

}  // namespace

Datasets open_idx(const DataSection& config, const InputSpec& input) {
  const std::int64_t pixels = input.sample.elements();
  LabelledImages train = load(config.train, config.train_labels, "train_labels", input);
  LabelledImages validation;
  if (!config.validation.empty()) {
    validation = load(config.validation, config.validation_labels, "validation_labels", input);
  } else {
    const auto samples = static_cast<std::int64_t>(train.labels.size());
    const std::int64_t tail = tail_samples(samples, config.fraction);
    if (tail >= samples) {
      throw DataError(config.train + ": holds " + std::to_string(samples) +
                      " images: too few to split some off for validation. Set data.validation to a path, or to 0");
    }
    validation = split_tail(train, tail, pixels);
  }
  Datasets sets;
  sets.train = std::make_unique<IdxImages>(std::move(train), pixels);
  sets.validation = std::make_unique<IdxImages>(std::move(validation), pixels);
  return sets;
}

}  // namespace ballast
