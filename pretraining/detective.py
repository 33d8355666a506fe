"""Which latents the cases of the feature detective (exercise 5.8) are about: `python -m pretraining.detective`."""

from part_utils.hypotheses import FeatureDetective, latents_for_rules, record_feature, score_hypothesis
from part_utils.language_models import load_autoencoder, load_language_model
from part_utils.model_with_autoencoder import ModelWithAutoencoder


def main() -> None:
    """Find the detective's latents anew, after the bundled model or autoencoders have changed."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    encoder_a = ModelWithAutoencoder(load_language_model(), load_autoencoder())
    detective = FeatureDetective()
    rules = [getattr(detective, f"case_{number}") for number in range(1, 6)]
    found = latents_for_rules(rules, encoder_a)
    for number, (rule, (latent, f1)) in enumerate(zip(rules, found, strict=True), start=1):
        score = score_hypothesis(rule, record_feature(latent, encoder_a))
        console.print(
            f"case {number}: latent {latent}, F1 {f1:.2f} on the text to study, {score.f1:.2f} held out "
            f"(precision {score.precision:.2f}, recall {score.recall:.2f})"
        )
    console.print(f"DETECTIVE_LATENTS = {tuple(latent for latent, _ in found)}")


if __name__ == "__main__":
    main()
