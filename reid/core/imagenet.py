"""ImageNet's mean and standard deviation, which pretrained networks expect their input to be normalised with.

Source: torchvision's presets and the dev kit (SoccerNet/sn-reid).
"""

# Per channel (RGB) of images in 0..1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

MEAN_COLOUR = tuple(round(255 * mean) for mean in MEAN)  # (124, 116, 104), for uint8 images: what networks see as zero
